//! ForgeLLM.
