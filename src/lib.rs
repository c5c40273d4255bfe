//! All of a business's conversations through one typed `Message`.
/// generated
#[allow(missing_docs, unreachable_pub, clippy::all)]
pub mod pb {
    include!(concat!(env!("OUT_DIR"), "/protos.rs"));
}
