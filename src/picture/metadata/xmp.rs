//! XMP packets (ISO 16684-1): filters the input's, and writes the output's.

use std::{collections::BTreeSet, fmt::Write};

use roxmltree::{Document, Node, ParsingOptions};

use crate::picture::{
    metadata::{
        dropped::{self, Dropped},
        tree::{self, escaped},
    },
    settings,
};

/// Maximum bytes of a packet that is read.
pub(super) const MOST: usize = 1 << 20;

/// Maximum number of XML nodes of a packet.
const MOST_NODES: u32 = 100_000;

const RDF: &str = "http://www.w3.org/1999/02/22-rdf-syntax-ns#";
const DC: &str = "http://purl.org/dc/elements/1.1/";
const XMP: &str = "http://ns.adobe.com/xap/1.0/";
const EXIF: &str = "http://ns.adobe.com/exif/1.0/";
const TIFF: &str = "http://ns.adobe.com/tiff/1.0/";
const PHOTOSHOP: &str = "http://ns.adobe.com/photoshop/1.0/";
const IPTC: &str = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/";
const NOTE: &str = "http://ns.adobe.com/xmp/note/";

/// Namespaces with their usual prefixes.
pub(super) const NAMESPACES: [(&str, &str); 14] = [
    ("rdf", RDF),
    ("dc", DC),
    ("xmp", XMP),
    ("exif", EXIF),
    ("tiff", TIFF),
    ("photoshop", PHOTOSHOP),
    ("Iptc4xmpExt", IPTC),
    ("xmpNote", NOTE),
    ("Iptc4xmpCore", "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/"),
    ("xmpMM", "http://ns.adobe.com/xap/1.0/mm/"),
    ("xmpRights", "http://ns.adobe.com/xap/1.0/rights/"),
    ("crs", "http://ns.adobe.com/camera-raw-settings/1.0/"),
    ("aux", "http://ns.adobe.com/exif/1.0/aux/"),
    ("plus", "http://ns.useplus.org/ldf/xmp/1.0/"),
];

/// Properties about data attached to the file or to other parts of the packet.
const ATTACHED: [&str; 8] = [
    NOTE,
    "http://ns.adobe.com/hdr-gain-map/1.0/",
    "http://ns.apple.com/HDRGainMap/1.0/",
    "http://ns.google.com/photos/1.0/camera/",
    "http://ns.google.com/photos/1.0/container/",
    "http://ns.google.com/photos/1.0/container/item/",
    "http://ns.google.com/photos/1.0/depthmap/",
    "http://ns.google.com/photos/1.0/image/",
];

/// IPTC's digital source type for a picture composed with a trained model.
const SOURCE_TYPE: &str =
    "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia";

/// The kept part of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Xmp {
    /// `rdf:Description` elements.
    descriptions: String,
    /// Namespace and name of each kept property.
    properties: BTreeSet<(String, String)>,
}

/// A property that other kinds of metadata have as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Property {
    Title,
    Creator,
    Description,
    Rights,
    Created,
    Credit,
    Source,
    Headline,
    Keywords,
}

impl Xmp {
    /// Parses a packet; `None` if nothing in it is kept. What is dropped is added to `dropped`.
    pub(super) fn read(
        packet: &str,
        dropped: &mut BTreeSet<Dropped>,
    ) -> Result<Option<Xmp>, Dropped> {
        if packet.len() > MOST {
            return Err(Dropped::TooLarge("XMP"));
        }
        let malformed = Dropped::Malformed("XMP");
        let text = packet.trim_start_matches('\u{FEFF}').trim_end_matches('\0');
        let options = ParsingOptions { nodes_limit: MOST_NODES, ..ParsingOptions::default() };
        let document =
            Document::parse_with_options(text, options).map_err(|_| malformed.clone())?;
        let root = document.descendants().find(|it| it.has_tag_name((RDF, "RDF")));
        let mut xmp = Xmp { descriptions: String::new(), properties: BTreeSet::new() };
        let about = document.descendants().filter(|it| it.has_tag_name((RDF, "Description")));
        for node in about.filter(|it| it.parent() == root) {
            let mut is_kept = |namespace: &str, name: &str, text: &str| {
                let fate = fate(namespace, name, text);
                if let Fate::Told(what) = &fate {
                    dropped.insert(what.clone());
                }
                fate == Fate::Kept
            };
            let written = tree::written(node, &mut is_kept).ok_or(malformed.clone())?;
            xmp.properties.extend(properties(node));
            xmp.descriptions +=
                &written.replacen("<rdf:Description", r#"<rdf:Description rdf:about="""#, 1);
        }
        Ok((!xmp.properties.is_empty()).then_some(xmp))
    }

    /// Size of the kept part in bytes.
    pub(super) fn len(&self) -> usize {
        self.descriptions.len()
    }

    fn has(&self, namespace: &str, name: &str) -> bool {
        self.properties.contains(&(namespace.to_owned(), name.to_owned()))
    }
}

/// The properties of an `rdf:Description` that are kept.
fn properties(node: Node<'_, '_>) -> Vec<(String, String)> {
    let attributes = node.attributes().filter(|it| it.namespace().is_some_and(|it| it != RDF));
    let attributes =
        attributes.map(|it| (it.namespace().unwrap_or_default(), it.name(), it.value()));
    let elements = node.children().filter(Node::is_element).map(|it| {
        let name = it.tag_name();
        (name.namespace().unwrap_or_default(), name.name(), it.text().unwrap_or_default())
    });
    let kept =
        attributes.chain(elements).filter(|(at, name, text)| fate(at, name, text) == Fate::Kept);
    kept.map(|(namespace, name, _)| (namespace.to_owned(), name.to_owned())).collect()
}

/// What to do with a property.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    Kept,
    /// Dropped silently: replaced by the output's own, or of no use.
    Replaced,
    Told(Dropped),
}

fn fate(namespace: &str, name: &str, text: &str) -> Fate {
    if ATTACHED.contains(&namespace) {
        return Fate::Told(Dropped::Attached);
    }
    match (namespace, name) {
        // All descriptions of a packet are about one thing, which is left without a name.
        (RDF | "", "about")
        // True of the input's pixels alone.
        | (TIFF, "Orientation" | "ImageWidth" | "ImageLength")
        | (EXIF, "PixelXDimension" | "PixelYDimension")
        // The output says its own.
        | (settings::NAMESPACE, _)
        | (
            IPTC,
            "DigitalSourceType" | "DigitalSourcefileType" | "AISystemUsed" | "AISystemVersionUsed",
        ) => Fate::Replaced,
        (EXIF, name) if name.starts_with("GPS") => Fate::Told(Dropped::Position),
        (XMP, "Thumbnails") => Fate::Told(Dropped::Thumbnail),
        ("http://purl.org/dc/terms/", "provenance") => Fate::Told(Dropped::Credentials),
        (IPTC, "AIPromptInformation" | "AIPromptWriterName") => Fate::Told(Dropped::OtherPrompt),
        _ if dropped::is_prompt(text) => Fate::Told(Dropped::OtherPrompt),
        _ => Fate::Kept,
    }
}

/// Writes the output's packet: kept properties, those of other metadata, the source type, and the settings.
pub(super) fn packet(
    kept: Option<&Xmp>,
    added: &[(Property, String)],
    settings: Option<&str>,
) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let mut own = format!(
        "<Iptc4xmpExt:DigitalSourceType>{SOURCE_TYPE}</Iptc4xmpExt:DigitalSourceType>\
         <Iptc4xmpExt:AISystemUsed>retouch</Iptc4xmpExt:AISystemUsed>\
         <Iptc4xmpExt:AISystemVersionUsed>{version}</Iptc4xmpExt:AISystemVersionUsed>"
    );
    let has = |namespace: &str, name: &str| kept.is_some_and(|it| it.has(namespace, name));
    // It names the first program that made the picture.
    if !has(XMP, "CreatorTool") {
        let _ = write!(own, "<xmp:CreatorTool>retouch {version}</xmp:CreatorTool>");
    }
    let mut said = BTreeSet::new();
    for (property, text) in added {
        let (namespace, prefix, name) = property.name();
        if !has(namespace, name) && said.insert(*property) {
            let value = property.value(text);
            let _ = write!(own, "<{prefix}:{name}>{value}</{prefix}:{name}>");
        }
    }
    if let Some(settings) = settings {
        own += &settings::element(settings);
    }
    // The packet's id is the one that the standard gives to all packets.
    format!(
        "<?xpacket begin=\"\u{FEFF}\" id=\"W5M0MpCehiHzreSzNTczkc9d\"?>\
         <x:xmpmeta xmlns:x=\"adobe:ns:meta/\"><rdf:RDF xmlns:rdf=\"{RDF}\">{}\
         <rdf:Description rdf:about=\"\" xmlns:xmp=\"{XMP}\" xmlns:dc=\"{DC}\" xmlns:photoshop=\"{PHOTOSHOP}\" \
         xmlns:Iptc4xmpExt=\"{IPTC}\" xmlns:retouch=\"{}\">{own}</rdf:Description></rdf:RDF></x:xmpmeta>\
         <?xpacket end=\"r\"?>",
        kept.map_or("", |it| &it.descriptions),
        settings::NAMESPACE,
    )
}

impl Property {
    /// Namespace, its prefix, and local name.
    fn name(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Title => (DC, "dc", "title"),
            Self::Creator => (DC, "dc", "creator"),
            Self::Description => (DC, "dc", "description"),
            Self::Rights => (DC, "dc", "rights"),
            Self::Keywords => (DC, "dc", "subject"),
            Self::Created => (PHOTOSHOP, "photoshop", "DateCreated"),
            Self::Credit => (PHOTOSHOP, "photoshop", "Credit"),
            Self::Source => (PHOTOSHOP, "photoshop", "Source"),
            Self::Headline => (PHOTOSHOP, "photoshop", "Headline"),
        }
    }

    /// The value in XMP's form for this property: text, language alternative, ordered or unordered list.
    fn value(self, text: &str) -> String {
        let escaped = escaped(text);
        let item = format!("<rdf:li>{escaped}</rdf:li>");
        match self {
            Self::Title | Self::Description | Self::Rights => {
                format!("<rdf:Alt><rdf:li xml:lang=\"x-default\">{escaped}</rdf:li></rdf:Alt>")
            }
            Self::Creator => format!("<rdf:Seq>{item}</rdf:Seq>"),
            Self::Keywords => {
                let items =
                    text.split('\n').map(|it| format!("<rdf:li>{}</rdf:li>", tree::escaped(it)));
                format!("<rdf:Bag>{}</rdf:Bag>", items.collect::<String>())
            }
            Self::Created | Self::Credit | Self::Source | Self::Headline => escaped,
        }
    }
}
