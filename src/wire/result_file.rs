//! Result files: edited colors with the input's alpha channel, ICC profile and metadata, and the record of the edit.

use std::sync::Arc;

use image::RgbImage;

use crate::edit::request::EditRequest;
use crate::picture::{
    Picture,
    encode::{self, Tags},
    error::PictureError,
    metadata::{Metadata, Policy},
};
use crate::wire::edit_record::{EditRecord, MadePicture};

/// The parts of a result file that all variants of an edit share.
#[derive(Debug)]
pub struct ResultFile<'a> {
    /// How the results are made.
    pub made: MadePicture<'a>,
    /// The input's metadata.
    pub metadata: &'a Metadata,
    /// Which metadata is written.
    pub policy: Policy,
}

impl ResultFile<'_> {
    /// Encodes the edited picture of a request.
    ///
    /// # Errors
    /// As for [`encode::encode`].
    pub fn encode(
        &self,
        request: &EditRequest,
        image: Arc<RgbImage>,
    ) -> Result<Vec<u8>, PictureError> {
        let _span = tracing::debug_span!("encode_result").entered();
        let picture = Picture { rgb: image, ..self.made.picture.clone() };
        let record = EditRecord::of(request, &self.made).to_json();
        let tags = Tags { record: &record, metadata: self.metadata, policy: self.policy };
        encode::encode(&picture, self.made.format, &tags)
    }
}
