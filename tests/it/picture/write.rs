//! Atomic file writes.

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
            format!("the folder {} does not exist, create it first", shown("missing")),
        ),
        (
            at("file/out.png"),
            format!("the folder {} does not exist, create it first", shown("file")),
        ),
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

#[cfg(unix)]
mod on_unix {
    use std::{
        fs::{self, Permissions},
        os::unix::fs::{PermissionsExt, symlink},
        path::Path,
    };

    use rustix::fs::{CWD, Mode, mkfifoat};

    use retouch::picture::write::{Overwrite, check_target, place, write_atomically};

    use super::fault;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn what_takes_a_files_place_takes_its_permissions() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.png");
        for wanted in [0o600, 0o640, 0o604, 0o666, 0o755] {
            fs::write(&path, b"one").unwrap();
            fs::set_permissions(&path, Permissions::from_mode(wanted)).unwrap();
            write_atomically(&path, b"two", Overwrite::Replace).unwrap();
            assert_eq!(mode(&path), wanted);
            assert_eq!(fs::read(&path).unwrap(), b"two");
        }
    }

    #[test]
    fn a_write_protected_file_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("out.png"), folder.path().join("link.png"));
        fs::write(&path, b"one").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o444)).unwrap();
        symlink("out.png", &link).unwrap();
        for at in [&path, &link] {
            for found in [
                fault(check_target(at, Overwrite::Replace)),
                fault(write_atomically(at, b"two", Overwrite::Replace)),
            ] {
                assert!(found.contains("write-protected") && found.contains("chmod"), "{found}");
            }
        }
        assert_eq!(fs::read(&path).unwrap(), b"one");
        assert_eq!(mode(&path), 0o444);
    }

    #[test]
    fn links_are_tried_where_they_lead_though_nothing_is_there_yet() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("inner")).unwrap();
        // A chain, relative to the folder of each link.
        symlink("inner/second", at("first")).unwrap();
        symlink("../third.png", at("inner/second")).unwrap();
        check_target(&at("first"), Overwrite::Refuse).unwrap();
        assert!(!at("third.png").exists(), "trying leaves nothing behind");
        write_atomically(&at("first"), b"one", Overwrite::Refuse).unwrap();
        assert_eq!(fs::read(at("third.png")).unwrap(), b"one");
        assert!(at("first").is_symlink() && at("inner/second").is_symlink());
        assert_eq!(place(&at("first")), place(&at("third.png")));
        assert_ne!(place(&at("first")), place(&at("inner/third.png")));

        symlink("gone/out.png", at("dangling")).unwrap();
        symlink("round", at("square")).unwrap();
        symlink("square", at("round")).unwrap();
        let cases =
            [("dangling", "does not exist, create it first"), ("round", "symbolic link loop")];
        for (name, expected) in cases {
            for overwrite in [Overwrite::Refuse, Overwrite::Replace] {
                let found = fault(check_target(&at(name), overwrite));
                assert!(found.contains(expected), "{found}");
            }
        }
    }

    #[test]
    fn a_name_that_no_folder_takes_is_found_by_trying() {
        let folder = tempfile::tempdir().unwrap();
        let at = |length: usize| folder.path().join(format!("{}.png", "n".repeat(length - 4)));
        check_target(&at(255), Overwrite::Refuse).unwrap();
        for path in [at(256), at(4000)] {
            let found = fault(check_target(&path, Overwrite::Refuse));
            assert!(found.contains("too long") && found.contains("shorter"), "{found}");
        }
        // The link's own name fits, that of what it leads to does not.
        symlink(at(256), folder.path().join("link.png")).unwrap();
        let found = fault(check_target(&folder.path().join("link.png"), Overwrite::Refuse));
        assert!(found.contains("too long"), "{found}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn streams_are_told_from_files() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe.png");
        mkfifoat(CWD, &pipe, Mode::RUSR | Mode::WUSR).unwrap();
        symlink("/dev/stdout", folder.path().join("link.png")).unwrap();
        for path in [
            pipe.as_path(),
            Path::new("/dev/stdout"),
            Path::new("/dev/fd/1"),
            Path::new("/dev/null"),
            Path::new("/proc/self/fd/1"),
            &folder.path().join("link.png"),
        ] {
            for overwrite in [Overwrite::Refuse, Overwrite::Replace] {
                let found = fault(check_target(path, overwrite));
                assert!(found.contains("is a pipe or device"), "{}: {found}", path.display());
            }
        }
    }
}
