//! What several plugins need.
