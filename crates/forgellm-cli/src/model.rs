//! An open model file with what the commands ask of it.

use std::path::Path;

use forgellm_frontend::arch::{self, ImportError};
use forgellm_frontend::checkpoint::gguf::{GgufError, GgufFile};
use forgellm_frontend::ir::{Graph, Verified};
use forgellm_frontend::tokenizer::{self, TokenizerSpec};
use forgellm_runtime::runtime::tokenizer::Tokenizer;

/// A model file.
#[derive(Debug)]
pub struct Model {
    /// The file.
    pub file: GgufFile,
}

/// Why a model file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The container.
    #[error(transparent)]
    File(#[from] GgufError),
    /// The tokenizer, as the file describes it.
    #[error("{file}: the tokenizer cannot be read")]
    TokenizerSpec {
        /// The file.
        file: String,
        /// Why not.
        source: tokenizer::TokenizerError,
    },
    /// The tokenizer that was made from the description.
    #[error("{file}: the tokenizer cannot be made")]
    Tokenizer {
        /// The file.
        file: String,
        /// Why not.
        source: forgellm_runtime::runtime::tokenizer::TokenizerError,
    },
    /// The graph.
    #[error("{file}: the model cannot be read")]
    Graph {
        /// The file.
        file: String,
        /// Why not.
        source: Box<ImportError>,
    },
}

impl Model {
    /// Opens the file at `path`.
    ///
    /// # Errors
    /// When it is no GGUF file, or a damaged one.
    pub fn open(path: &Path) -> Result<Model, ModelError> {
        Ok(Model { file: GgufFile::open(path)? })
    }

    /// The model's graph.
    ///
    /// # Errors
    /// When the architecture is unknown, or the file does not fit it.
    pub fn graph(&self) -> Result<Verified<Graph>, ModelError> {
        arch::import(&self.file)
            .map_err(|source| ModelError::Graph { file: self.name(), source: Box::new(source) })
    }

    /// What the file says about its tokenizer.
    ///
    /// # Errors
    /// When it says nothing, or something that is not known.
    pub fn tokenizer_spec(&self) -> Result<TokenizerSpec, ModelError> {
        tokenizer::from_metadata(self.file.metadata())
            .map_err(|source| ModelError::TokenizerSpec { file: self.name(), source })
    }

    /// The tokenizer that a compiled program would load.
    ///
    /// # Errors
    /// As [`Model::tokenizer_spec`].
    pub fn tokenizer(&self) -> Result<Tokenizer, ModelError> {
        let json = self.tokenizer_spec()?.to_tokenizer_json();
        Tokenizer::from_bytes(json.as_bytes())
            .map_err(|source| ModelError::Tokenizer { file: self.name(), source })
    }

    fn name(&self) -> String {
        self.file.path().display().to_string()
    }
}
