//! How an image came about.

use jiff::Timestamp;
use strata_types::ImageId;

use crate::{Engine, Result};

/// One step, as `history` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The image this step made, if it is here.
    pub id: Option<ImageId>,
    /// When.
    pub created: Option<Timestamp>,
    /// The command.
    pub created_by: String,
    /// How many bytes its layer added.
    pub size_bytes: u64,
    /// A remark.
    pub comment: String,
    /// The references to the image this step made.
    pub tags: Vec<String>,
}

impl Engine {
    /// Tells how an image came about, the last step first.
    ///
    /// # Errors
    /// When there is no such image.
    pub fn history(&self, name: &str) -> Result<Vec<Step>> {
        let image = self.image(name)?;
        let config = self.config(&image.id)?;
        let mut layers = image.layers.iter();
        let mut steps = Vec::new();
        for step in &config.history {
            let layer = if step.empty_layer { None } else { layers.next() };
            let record = layer.map(|layer| self.store().layers().get(layer)).transpose()?.flatten();
            steps.push(Step {
                id: None,
                created: step.created.as_deref().and_then(|text| text.parse().ok()),
                created_by: step.created_by.clone(),
                size_bytes: record.map_or(0, |record| record.size_bytes),
                comment: step.comment.clone(),
                tags: Vec::new(),
            });
        }
        steps.reverse();
        let mut made = Some(image);
        for step in &mut steps {
            let Some(image) = made else { break };
            step.tags = self.references(&image.id)?.tags.iter().map(|tag| tag.familiar()).collect();
            made = image.parent.as_ref().map(|parent| self.store().images().get(parent)).transpose()?.flatten();
            step.id = Some(image.id);
        }
        Ok(steps)
    }
}
