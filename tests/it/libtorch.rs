//! How the build finds libtorch, and how binaries find it at run time.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use assert_cmd::Command;
use predicates::str::contains;
use tempfile::TempDir;

/// The script in a repository of its own.
struct Clone(TempDir);

impl Clone {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(".ci/libtorch.py");
        fs::create_dir(folder.path().join(".ci")).unwrap();
        fs::copy(script, folder.path().join(".ci/libtorch.py")).unwrap();
        Self(folder)
    }

    /// A path in this repository as the script prints it.
    fn path(&self, name: &str) -> PathBuf {
        self.0.path().canonicalize().unwrap().join(name)
    }

    /// The script without a network.
    fn script(&self) -> Command {
        let mut command = Command::new("python3");
        command.arg(self.path(".ci/libtorch.py")).env_remove("LIBTORCH").env("PIP_NO_INDEX", "1");
        command.env_remove("PIP_FIND_LINKS").env("PIP_CONFIG_FILE", "/dev/null");
        command
    }

    /// A `site-packages/torch` of somebody's own, with CUDA.
    fn own_torch(&self, minor: u32) -> PathBuf {
        let torch = self.path("site-packages/torch");
        let headers = torch.join("include/torch/headeronly");
        let runtime = self.path("site-packages/nvidia/cu13/lib");
        for folder in [&headers, &runtime, &torch.join("lib")] {
            fs::create_dir_all(folder).unwrap();
        }
        let version = format!(
            "#define TORCH_VERSION_MAJOR 2\n#define TORCH_VERSION_MINOR {minor}\n#define TORCH_VERSION_PATCH 0\n"
        );
        fs::write(headers.join("version.h"), version).unwrap();
        for name in ["libtorch_cpu.so", "libtorch_cuda.so", "libtorch.so", "libgomp.so.1"] {
            fs::write(torch.join("lib").join(name), name).unwrap();
        }
        fs::write(runtime.join("libcupti.so.13"), "").unwrap();
        torch
    }
}

#[test]
fn an_unpacked_libtorch_is_ready_without_a_network() {
    let clone = Clone::new();
    let ready = clone.path(".libtorch/2.11.0");
    fs::create_dir_all(&ready).unwrap();
    clone.script().assert().success().stdout(format!("{}\n", ready.display()));
}

#[test]
fn a_failed_fetch_leaves_no_folder_that_looks_ready() {
    let clone = Clone::new();
    clone.script().assert().failure().stderr(contains("set LIBTORCH to a folder of your own"));
    assert!(!clone.path(".libtorch/2.11.0").exists());
}

#[test]
fn a_wheel_of_another_hash_is_refused() {
    let clone = Clone::new();
    let wheel = format!("torch-2.11.0-cp312-cp312-manylinux_2_28_{}.whl", env::consts::ARCH);
    fs::write(clone.path(&wheel), "another").unwrap();
    let mut script = clone.script();
    script.env("PIP_FIND_LINKS", clone.path(""));
    script.assert().failure().stderr(contains("HASHES"));
    assert!(!clone.path(".libtorch/2.11.0").exists());
}

#[test]
fn a_libtorch_of_ones_own_is_seen_without_its_cuda_half() {
    let clone = Clone::new();
    let own = clone.own_torch(11);
    let output = clone.script().env("LIBTORCH", &own).output().unwrap();
    let view = PathBuf::from(String::from_utf8(output.stdout).unwrap().trim_end());
    let lib = view.join("lib");
    let real = |name: &str| lib.join(name).canonicalize().unwrap();

    assert_eq!(real("libtorch_cpu.so"), own.join("lib/libtorch_cpu.so"));
    // The wheel's own libtorch.so asks for libtorch_cuda.so.
    assert_eq!(real("libtorch.so"), own.join("lib/libtorch_cpu.so"));
    assert_eq!(real("libgomp.so"), own.join("lib/libgomp.so.1"));
    assert!(real("libcupti.so.13").ends_with("nvidia/cu13/lib/libcupti.so.13"));
    assert!(!lib.join("libtorch_cuda.so").exists());
    assert!(view.join("include/torch/headeronly/version.h").exists());

    // Nested calls get the view itself, and an unchanged folder keeps its view.
    let ready = format!("{}\n", view.display());
    clone.script().env("LIBTORCH", &view).assert().success().stdout(ready.clone());
    clone.script().env("LIBTORCH", &own).assert().success().stdout(ready);
}

#[test]
fn a_libtorch_of_another_version_is_refused_by_its_number() {
    let clone = Clone::new();
    let own = clone.own_torch(10);
    let mut script = clone.script();
    script
        .env("LIBTORCH", &own)
        .assert()
        .failure()
        .stderr(contains("is libtorch 2.10.0, not 2.11.0"));
}

#[test]
fn a_folder_without_libtorch_is_refused() {
    let clone = Clone::new();
    let mut script = clone.script();
    script.env("LIBTORCH", "/usr").assert().failure().stderr(contains("no lib/libtorch_cpu.so"));
}

#[test]
fn binaries_find_libtorch_by_themselves_and_never_link_its_cuda_half() {
    // A binary that calls nothing of libtorch does not link it.
    assert!(tch::get_num_threads() > 0);
    let this_one = env::current_exe().unwrap();
    assert!(libraries_of(&this_one).contains("libtorch_cpu.so"));
    for binary in [this_one.as_path(), Path::new(env!("CARGO_BIN_EXE_retouch"))] {
        let libraries = libraries_of(binary);
        assert!(!libraries.contains("not found"), "{}:\n{libraries}", binary.display());
        assert!(!libraries.contains("libtorch_cuda"), "{}:\n{libraries}", binary.display());
    }
}

/// What the loader finds for a binary, and what it does not.
fn libraries_of(binary: &Path) -> String {
    let output = Command::new("ldd").arg(binary).env_remove("LD_LIBRARY_PATH").output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}
