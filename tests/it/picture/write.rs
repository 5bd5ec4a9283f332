//! Files that are whole or absent.

use std::fs;

use retouch::picture::write::{Overwrite, check_target, write_atomically};

use super::fault;

#[test]
fn a_file_is_written_once_and_replaced_only_if_allowed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.png");
    check_target(&path, Overwrite::Refuse).unwrap();
    assert!(!path.exists(), "checking leaves nothing behind");
    write_atomically(&path, b"one", Overwrite::Refuse).unwrap();
    let expected = format!("{} exists already, choose another name", path.display());
    assert_eq!(fault(check_target(&path, Overwrite::Refuse)), expected);
    assert_eq!(fault(write_atomically(&path, b"two", Overwrite::Refuse)), expected);
    assert_eq!(fs::read(&path).unwrap(), b"one");
    write_atomically(&path, b"two", Overwrite::Replace).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"two");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing unfinished is left");
}

#[test]
fn places_that_take_no_file_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("file"), b"").unwrap();
    fs::create_dir(at("folder")).unwrap();
    let shown = |name: &str| at(name).display().to_string();
    let cases = [
        (
            at("missing/out.png"),
            format!("there is no folder {}, create it first", shown("missing")),
        ),
        (at("file/out.png"), format!("there is no folder {}, create it first", shown("file"))),
        (at("folder"), format!("{} is not a regular file, choose another name", shown("folder"))),
        (
            at("folder/.."),
            format!("{} is not a regular file, choose another name", shown("folder/..")),
        ),
    ];
    for (path, expected) in cases {
        assert_eq!(fault(check_target(&path, Overwrite::Replace)), expected);
        assert_eq!(fault(write_atomically(&path, b"x", Overwrite::Replace)), expected);
    }
}

#[cfg(unix)]
#[test]
fn links_lead_on_and_new_files_are_readable_by_others() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let folder = tempfile::tempdir().unwrap();
    let (file, link) = (folder.path().join("file"), folder.path().join("link"));
    fs::write(&file, b"one").unwrap();
    symlink(&file, &link).unwrap();
    let plain = fs::metadata(&file).unwrap().permissions().mode();
    write_atomically(&link, b"two", Overwrite::Replace).unwrap();
    assert_eq!(fs::read(&file).unwrap(), b"two");
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode(), plain);
}
