//! Build script: compiles the gRPC schema without protoc, and sets an rpath so that binaries find libtorch without
//! `LD_LIBRARY_PATH`.

use std::{
    env,
    error::Error,
    fs, io,
    os::unix,
    path::{Path, PathBuf},
};

/// Set by Cargo where the feature `engine` is on; a client needs neither libtorch nor the service's own code.
const ENGINE: &str = "CARGO_FEATURE_ENGINE";

const API: &str = "proto/retouch/v1/edit.proto";
const SCHEMAS: [&str; 3] =
    [API, "proto/retouch/journal/v1/journal.proto", "proto/keda/externalscaler.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    let out = PathBuf::from(env::var("OUT_DIR")?);
    compile_schema(&out)?;
    if env::var_os(ENGINE).is_some() { point_at_libtorch(&out) } else { Ok(()) }
}

/// Writes the generated Rust types and the file descriptor set that gRPC server reflection serves.
fn compile_schema(out: &Path) -> Result<(), Box<dyn Error>> {
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_imports(true).include_source_info(true);
    for schema in SCHEMAS {
        println!("cargo:rerun-if-changed={schema}");
        compiler.open_file(schema)?;
        if schema == API {
            fs::write(out.join("schema.bin"), compiler.encode_file_descriptor_set())?;
        }
    }
    // Sorted maps, so that equal messages have equal bytes; files are shared, not copied.
    tonic_prost_build::configure()
        .build_server(env::var_os(ENGINE).is_some())
        .btree_map(".")
        .bytes(".")
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}

/// Gives binaries, tests and benches an rpath to the folder that holds the real `libtorch_cpu.so`.
///
/// `LIBTORCH/lib` may hold symlinks, and the loader resolves `$ORIGIN` from the path where it found the library.
fn point_at_libtorch(out: &Path) -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    let folder = Path::new(&env::var("LIBTORCH")?).join("lib");
    let linked = folder.join("libtorch_cpu.so");
    println!("cargo:rerun-if-changed={}", linked.display());
    let Ok(library) = linked.canonicalize() else {
        return Err(format!("no {}: run `make libtorch`", linked.display()).into());
    };
    let cuda = folder.join("libtorch_cuda.so");
    if cuda.exists() {
        let cuda = cuda.display();
        return Err(format!(
            "{cuda} must not be linked: set LIBTORCH to what `make libtorch` prints"
        )
        .into());
    }
    let folder = library.parent().ok_or("a file lies in a folder")?;
    println!("cargo:rustc-link-arg=-Wl,-rpath,{}", folder.display());

    // Doc tests are linked without that argument. Cargo adds each search path under target/ to the
    // LD_LIBRARY_PATH of what it runs, so they find libtorch through this one.
    let alias = out.join("libtorch");
    match fs::remove_file(&alias) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => unix::fs::symlink(folder, &alias)?,
    }
    println!("cargo:rustc-link-search=native={}", alias.display());
    Ok(())
}
