//! What a person asks for, one operation per file. No terminal, no environment variables, no HTTP.
