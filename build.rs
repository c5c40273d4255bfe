//! Turns `proto/` into Rust, without protoc: protox compiles the files, tonic-prost-build (the name that
//! tonic-build carries for prost users since 0.14) generates the code, and the descriptor set is kept for reflection.

use std::{env, error::Error, fs, path::PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    #[expect(clippy::disallowed_methods, reason = "cargo tells build scripts where to write by a variable")]
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let api = "proto/headlessly/communication/v1";
    let mut files: Vec<PathBuf> =
        fs::read_dir(api)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "proto"));
    files.sort();
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_imports(true).include_source_info(true);
    compiler.open_files(files)?;
    // Nothing of ours names these, but our errors carry them: by reflection a client can read them.
    compiler.open_file("google/rpc/error_details.proto")?;
    fs::write(out.join("descriptors.bin"), compiler.encode_file_descriptor_set())?;
    tonic_prost_build::configure()
        // Sorted maps: the same request always has the same bytes, which is what makes a repetition recognisable.
        .btree_map(".")
        .bytes(".headlessly.communication.v1.Attachment.content")
        .extern_path(".google.rpc", "::tonic_types::pb")
        .boxed(".headlessly.communication.v1.SendMessageRequest.target.message")
        .emit_rerun_if_changed(false)
        .include_file("protos.rs")
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
