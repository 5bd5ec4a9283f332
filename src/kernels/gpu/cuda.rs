//! Loads libtorch's CUDA library at run time, so that one binary runs on machines with and without a GPU.
//!
//! The binary links only `libtorch_cpu.so`. `libtorch_cuda.so` registers its kernels and devices when it is loaded, and
//! libtorch looks for them once, at its first use; so it must be loaded before the first tensor is created.
#![expect(unsafe_code, reason = "loading a library runs its initializers")]

use std::{
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};

const LIBRARY: &str = "libtorch_cuda.so";

/// Why no GPU can be used.
#[derive(Debug, thiserror::Error)]
pub enum CudaError {
    /// The library is in none of the folders.
    #[error("`libtorch_cuda.so` is not in {}: install PyTorch 2.11 with CUDA and set LIBTORCH to its `torch` folder", list(.tried))]
    Missing {
        /// Folders that were searched, besides the loader's default path.
        tried: Vec<PathBuf>,
    },
    /// A dependency of the library is not installed.
    #[error("{} needs `{needs}`, which is not found: install what PyTorch 2.11 with CUDA depends on", .library.display())]
    DependencyMissing {
        /// Path of the library.
        library: PathBuf,
        /// File name of the dependency, such as `libcudnn.so.9`.
        needs: String,
    },
    /// The library can't be loaded: a different version of libtorch, or not a library.
    #[error("{} can't be loaded with this libtorch (2.11): it was built for another version", .library.display())]
    Unloadable {
        /// Path of the library.
        library: PathBuf,
        /// The loader's error.
        source: libloading::Error,
    },
    /// The library is loaded but finds no usable GPU.
    #[error("{} finds no GPU: check the driver with `nvidia-smi`, and `CUDA_VISIBLE_DEVICES`", .library.display())]
    NoDevice {
        /// Path of the library.
        library: PathBuf,
    },
}

/// Loads `libtorch_cuda.so` for the rest of the process and checks that it finds a GPU.
///
/// The search order is `folders`, the folder of the loaded `libtorch_cpu.so`, then the loader's default path. Must be
/// called before the first tensor is created, since libtorch looks for its CUDA library once.
///
/// # Errors
/// [`CudaError`] if the library or a dependency is missing, or if there is no GPU.
pub fn open_cuda(folders: &[PathBuf]) -> Result<(), CudaError> {
    let mut folders = folders.to_vec();
    folders.extend(folder_of_libtorch());
    let library = open(LIBRARY, &folders)?;
    if tch::Cuda::is_available() { Ok(()) } else { Err(CudaError::NoDevice { library }) }
}

/// Loads a library by name and returns its path.
fn open(name: &str, folders: &[PathBuf]) -> Result<PathBuf, CudaError> {
    let found = folders.iter().map(|it| it.join(name)).find(|it| it.exists());
    let library = found.unwrap_or_else(|| PathBuf::from(name));
    // SAFETY: libtorch's initializers register kernels and need nothing of this process; `RTLD_NOW` makes a symbol that
    // another version lacks an error here, not a crash later.
    match unsafe { Library::open(Some(&library), RTLD_NOW | RTLD_GLOBAL) } {
        Ok(handle) => {
            // libtorch keeps pointers into it: it must never be closed.
            std::mem::forget(handle);
            Ok(library)
        }
        Err(source) => Err(match missing_file(&source) {
            Some(needs) if needs == name => CudaError::Missing { tried: folders.to_vec() },
            Some(needs) if Path::new(&needs) != library => {
                CudaError::DependencyMissing { library, needs }
            }
            _ => CudaError::Unloadable { library, source },
        }),
    }
}

/// The file that the loader could not open, parsed from its message: `NAME: cannot open shared object file: …`.
fn missing_file(error: &libloading::Error) -> Option<String> {
    let text = std::error::Error::source(error)?.to_string();
    let (file, _) = text.split_once(": cannot open shared object file")?;
    Some(file.to_owned())
}

/// The folder of the `libtorch_cpu.so` that this process has loaded.
fn folder_of_libtorch() -> Option<PathBuf> {
    let maps = fs::read_to_string("/proc/self/maps").ok()?;
    let path = maps.lines().find(|it| it.ends_with("/libtorch_cpu.so"))?;
    Path::new(&path[path.find('/')?..]).parent().map(Path::to_owned)
}

fn list(folders: &[PathBuf]) -> String {
    let mut text = String::new();
    for folder in folders {
        let _ = write!(text, "{}, ", folder.display());
    }
    text + "the loader's path"
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_missing_library_names_every_folder_that_was_tried() {
        let error = open("libretouch_absent.so", &[PathBuf::from("/nowhere/lib")]).unwrap_err();
        assert!(matches!(error, CudaError::Missing { .. }), "{error:?}");
        assert!(error.to_string().contains("/nowhere/lib, the loader's path"), "{error}");
    }

    #[test]
    fn a_missing_dependency_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let cc = |args: &[&str]| {
            let mut command = Command::new("cc");
            command.current_dir(folder.path()).args(["-shared", "-Wl,--no-as-needed"]).args(args);
            assert!(command.status().unwrap().success());
        };
        cc(&["-o", "libretouch_dependency.so"]);
        cc(&["-o", "libretouch_library.so", "libretouch_dependency.so"]);
        std::fs::remove_file(folder.path().join("libretouch_dependency.so")).unwrap();

        let error = open("libretouch_library.so", &[folder.path().to_owned()]).unwrap_err();
        let CudaError::DependencyMissing { library, needs } = error else { panic!("{error:?}") };
        assert_eq!(needs, "libretouch_dependency.so");
        assert_eq!(library, folder.path().join("libretouch_library.so"));
    }

    #[test]
    fn a_file_that_is_no_library_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(LIBRARY);
        std::fs::write(&path, "not a library").unwrap();
        let error = open(LIBRARY, &[folder.path().to_owned()]).unwrap_err();
        assert!(matches!(error, CudaError::Unloadable { .. }), "{error:?}");
        assert!(error.to_string().starts_with(&path.display().to_string()), "{error}");
    }

    #[test]
    fn the_loaded_libtorch_is_found() {
        // A binary that calls nothing of libtorch does not link it.
        assert!(tch::get_num_threads() > 0);
        let folder = folder_of_libtorch().expect("libtorch_cpu.so is linked");
        assert!(folder.join("libtorch_cpu.so").exists());
    }
}
