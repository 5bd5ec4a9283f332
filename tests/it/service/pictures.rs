//! Input pictures and masks of requests: what the result keeps of them, and what is refused.

use bytes::Bytes;
use image::{GrayImage, ImageFormat, Luma, Rgb, RgbImage, Rgba, RgbaImage, imageops};
use retouch::wire::v1::{
    self, EditSpec, Image, MaskDecision, MaskPolicy, MetadataPolicy, edit_event::Event,
    edit_job::State, image::Source, mask_decision::Decision,
};
use tonic::Code;

use super::{
    harness::{Harness, reason, request, spec},
    real,
};

fn sent(bytes: impl Into<Bytes>) -> Image {
    Image { source: Some(Source::Data(bytes.into())) }
}

fn encoded(image: impl Into<image::DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.into().write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// White paint on the left eighth of transparent ground, or of what `ground` has.
fn painted(ground: [u8; 4]) -> v1::Mask {
    let paint = |x: u32, _| Rgba(if x < 4 { [255; 4] } else { ground });
    let image = Some(sent(encoded(RgbaImage::from_fn(32, 24, paint), ImageFormat::Png)));
    v1::Mask { image, ..v1::Mask::default() }
}

/// A photograph with a hole.
fn ambiguous() -> v1::Mask {
    let pixel =
        |x: u32, y: u32| Rgba([(x * 8) as u8, (y * 10) as u8, 40, if x < 4 { 0 } else { 255 }]);
    let image = Some(sent(encoded(RgbaImage::from_fn(32, 24, pixel), ImageFormat::Png)));
    v1::Mask { image, ..v1::Mask::default() }
}

fn settled(events: &[v1::EditEvent]) -> GrayImage {
    let mask = events.iter().find_map(|it| match &it.event {
        Some(Event::MaskSettled(settled)) => settled.mask.clone(),
        _ => None,
    });
    image::load_from_memory(&mask.unwrap().inline).unwrap().into_luma8()
}

#[tokio::test(flavor = "multi_thread")]
async fn transparent_parts_of_a_mask_stay_and_ambiguous_ones_are_refused() {
    let server = Harness::new().await;
    for ground in [[255, 255, 255, 0], [0, 0, 0, 0], [0, 0, 0, 255]] {
        let asked = EditSpec { mask: Some(painted(ground)), ..spec("edit") };
        server.create(request(asked)).await;
    }
    let asked = EditSpec { mask: Some(ambiguous()), ..spec("edit") };
    let refused = server.client.clone().create_edit_job(request(asked)).await.unwrap_err();
    assert_eq!(reason(&refused), (Code::InvalidArgument, "BAD_MASK".to_owned()));
    assert!(refused.message().contains("white paint alone on transparent ground"));

    let review = EditSpec { mask_policy: MaskPolicy::Review as i32, ..spec("edit") };
    let job = server.create(request(review)).await;
    server.until(&job.name, State::AwaitingMask).await;
    let replace =
        |mask| MaskDecision { decision: Some(Decision::Replace(mask)), ..MaskDecision::default() };
    let refused = server.decide(&job.name, replace(ambiguous())).await.unwrap_err();
    assert_eq!(reason(&refused), (Code::InvalidArgument, "BAD_MASK".to_owned()));
    let nothing = Some(sent(encoded(RgbaImage::new(32, 24), ImageFormat::Png)));
    let nothing = v1::Mask { image: nothing, ..v1::Mask::default() };
    let refused = server.decide(&job.name, replace(nothing)).await.unwrap_err();
    assert_eq!(reason(&refused), (Code::InvalidArgument, "EMPTY_MASK".to_owned()));
    server.decide(&job.name, replace(painted([255, 255, 255, 0]))).await.unwrap();
    server.until(&job.name, State::Succeeded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_picture_is_refused() {
    let server = Harness::new().await;
    let picture =
        RgbImage::from_fn(64, 64, |x, y| Rgb([(x * 4) as u8, (y * 4) as u8, (x * y) as u8]));
    let mut half = encoded(picture, ImageFormat::Jpeg);
    half.truncate(half.len() * 3 / 4);
    half.extend([0xFF, 0xD9]);
    let asked = EditSpec { image: Some(sent(half)), ..spec("edit") };
    let refused = server.client.clone().create_edit_job(request(asked)).await.unwrap_err();
    assert_eq!(reason(&refused), (Code::InvalidArgument, "BAD_IMAGE".to_owned()));
    assert!(refused.message().contains("of which a part is missing"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_has_the_inputs_size_at_its_native_one_and_its_metadata_as_asked() {
    let server = Harness::real(None, real::runner).await;
    let example = image::load_from_memory(&match real::edit().image.unwrap().source.unwrap() {
        Source::Data(bytes) => bytes,
        Source::Artifact(name) => panic!("{name}"),
    });
    let example = example.unwrap().into_rgb8();
    let odd = imageops::resize(&example, 65, 63, imageops::FilterType::Triangle);
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, 65, 63);
    encoder.set_color(png::ColorType::Rgb);
    encoder.add_text_chunk("Copyright".to_owned(), "2024 Ada".to_owned()).unwrap();
    let mut writer = encoder.write_header().unwrap();
    writer.write_chunk(png::chunk::gAMA, &100_000_u32.to_be_bytes()).unwrap();
    writer.write_image_data(odd.as_raw()).unwrap();
    writer.finish().unwrap();

    let native = Some(v1::Resize { size: Some(v1::resize::Size::Native(true)) });
    let left = GrayImage::from_fn(65, 63, |x, _| Luma([if x < 20 { 255 } else { 0 }]));
    let mask =
        v1::Mask { image: Some(sent(encoded(left, ImageFormat::Png))), ..v1::Mask::default() };
    let run = async |metadata: MetadataPolicy, mime_type: &str| {
        let output = v1::OutputOptions { mime_type: mime_type.to_owned(), quality: None };
        let asked = EditSpec {
            image: Some(sent(file.clone())),
            resize: native,
            mask: Some(mask.clone()),
            metadata: metadata as i32,
            output: Some(output),
            ..real::edit()
        };
        let job = server.client.clone().run_edit(request(asked)).await.unwrap().into_inner();
        let events = server.watch(&job.name, 0).await;
        let warned = events.iter().filter_map(|it| match &it.event {
            Some(Event::Warning(warning)) => Some(warning.message.clone()),
            _ => None,
        });
        let warned: Vec<String> = warned.collect();
        assert_eq!(settled(&events).dimensions(), (65, 63));
        let policy = job.spec.unwrap().metadata();
        (job.result.unwrap().image.unwrap().inline, warned.join("\n"), policy)
    };
    let has = |bytes: &[u8], text: &str| bytes.windows(text.len()).any(|it| it == text.as_bytes());

    let (kept, warned, policy) = run(MetadataPolicy::Unspecified, "image/png").await;
    assert_eq!((policy, warned.contains("not kept")), (MetadataPolicy::Keep, false));
    assert!(has(&kept, "2024 Ada") && has(&kept, "gAMA") && has(&kept, "compositeWithTrained"));
    let edited = image::load_from_memory(&kept).unwrap().into_rgb8();
    assert_eq!(edited.dimensions(), (65, 63));
    let outside = odd.enumerate_pixels().filter(|(x, ..)| *x >= 20);
    assert!(outside.into_iter().all(|(x, y, pixel)| edited.get_pixel(x, y) == pixel));

    let (jpeg, warned, _) = run(MetadataPolicy::Keep, "image/jpeg").await;
    assert!(has(&jpeg, "2024 Ada") && has(&jpeg, "compositeWithTrained"));
    assert!(warned.contains("(gAMA), which JPEG can't store"), "{warned}");
    let (bare, warned, policy) = run(MetadataPolicy::Strip, "image/png").await;
    assert_eq!((policy, warned.contains("not kept")), (MetadataPolicy::Strip, false));
    assert!(!has(&bare, "Ada") && !has(&bare, "gAMA") && !has(&bare, "black tree"));
    assert!(has(&bare, "compositeWithTrained"));
}
