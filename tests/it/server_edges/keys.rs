//! API keys: valid, invalid, rotated, generated.

use std::fs;

use assert_cmd::Command;
use http::{HeaderMap, HeaderValue};
use retouch::server::keys::{Caller, Keys, KeysError, Scope};
use tempfile::TempDir;
use tonic::Code;

use super::keys_file;

const EDIT: &[Scope] = &[Scope::Edit];

fn headers(name: &'static str, value: &str) -> HeaderMap {
    HeaderMap::from_iter([(
        http::HeaderName::from_static(name),
        HeaderValue::from_str(value).unwrap(),
    )])
}

fn opened(entries: &[(&str, &str, &[Scope])]) -> (TempDir, Keys) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.toml");
    keys_file(&path, entries);
    let keys = Keys::open(Some(&path)).unwrap();
    (folder, keys)
}

#[test]
fn a_key_is_taken_from_either_header() {
    let (_folder, keys) = opened(&[("one", "a", EDIT), ("two", "b", EDIT)]);
    let shown = [
        headers("x-api-key", "two"),
        headers("authorization", "Bearer two"),
        headers("authorization", "bearer  two "),
    ];
    for headers in shown {
        let caller = keys.caller(&headers).unwrap();
        assert_eq!((caller.tenant.as_str(), caller.key_id.as_str()), ("b", "key-of-b"));
    }
}

#[test]
fn a_wrong_or_missing_key_is_refused_and_not_repeated() {
    let (_folder, keys) = opened(&[("secret-one", "a", EDIT)]);
    let shown = [
        HeaderMap::new(),
        headers("x-api-key", ""),
        headers("x-api-key", "secret-two"),
        headers("authorization", "Basic secret-one"),
        headers("authorization", "Bearer"),
        headers("authorization", "Bearer secret-one two"),
    ];
    for headers in shown {
        let refusal = keys.caller(&headers).unwrap_err();
        assert_eq!((refusal.code, refusal.reason), (Code::Unauthenticated, "BAD_KEY"));
        assert!(!format!("{refusal:?}").contains("secret"), "{refusal:?}");
    }
    assert!(!format!("{keys:?}").contains("hash"), "a hash must not be printed");
}

#[test]
fn without_a_file_everyone_is_local_and_nobody_has_a_key() {
    let keys = Keys::open(None).unwrap();
    assert_eq!(keys.caller(&HeaderMap::new()).unwrap(), Caller::local());
    assert!(!keys.shows(&headers("x-api-key", "any"), Scope::Admin));
}

#[test]
fn a_scope_is_shown_by_a_key_that_has_it() {
    let (_folder, keys) = opened(&[("one", "a", EDIT), ("two", "b", &[Scope::Admin])]);
    assert!(keys.shows(&headers("x-api-key", "two"), Scope::Admin));
    assert!(!keys.shows(&headers("x-api-key", "one"), Scope::Admin));
    assert!(!keys.shows(&HeaderMap::new(), Scope::Admin));
}

#[test]
fn a_changed_file_counts_from_the_next_call() {
    let (folder, keys) = opened(&[("one", "a", EDIT)]);
    let path = folder.path().join("keys.toml");
    keys_file(&path, &[("one", "a", EDIT), ("two", "b", EDIT)]);
    assert!(keys.caller(&headers("x-api-key", "two")).is_ok());
    // By a renamed file too, as secrets are mounted.
    let next = folder.path().join("next.toml");
    keys_file(&next, &[("two", "b", EDIT)]);
    fs::rename(&next, &path).unwrap();
    assert!(keys.caller(&headers("x-api-key", "one")).is_err());
    assert!(keys.caller(&headers("x-api-key", "two")).is_ok());
}

#[test]
fn a_file_that_turned_bad_leaves_the_old_keys() {
    let (folder, keys) = opened(&[("one", "a", EDIT)]);
    let path = folder.path().join("keys.toml");
    for bad in [Some("[[key]]\nid = 3"), None] {
        match bad {
            Some(text) => fs::write(&path, text).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
        assert!(keys.caller(&headers("x-api-key", "one")).is_ok());
    }
    keys_file(&path, &[("two", "b", EDIT)]);
    assert!(keys.caller(&headers("x-api-key", "one")).is_err());
}

#[test]
fn a_bad_file_is_refused_by_place_without_its_text() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.toml");
    let hash = "ab".repeat(32);
    let key = |id: &str, sha256: &str, scopes: &str| {
        format!(
            "[[key]]\nid = \"{id}\"\ntenant = \"t\"\nsha256 = \"{sha256}\"\nscopes = [{scopes}]\n"
        )
    };
    let edit = "\"edit\"";
    let cases = [
        (key("a", "secret", edit), "key 1: sha256"),
        (key("a", &hash, ""), "key 1: scopes"),
        (key("a b", &hash, edit), "key 1: id"),
        // Which no rate holds for.
        (key("anonymous", &hash, edit), "key 1: the id `anonymous`"),
        (format!("{0}{0}", key("a", &hash, edit)), "key 2: the id"),
        (key("a", &hash, "\"root\""), "line 5"),
        ("\n\nkey = secret".to_owned(), "line 3"),
    ];
    for (text, said) in cases {
        fs::write(&path, text).unwrap();
        let error = Keys::open(Some(&path)).unwrap_err().to_string();
        assert!(error.contains(said), "{said} in: {error}");
        assert!(!error.contains("secret") && !error.contains(&hash), "{error}");
    }
    let missing = Keys::open(Some(&folder.path().join("none.toml"))).unwrap_err();
    assert!(matches!(missing, KeysError::Read { .. }));
}

#[test]
fn a_made_key_opens_the_door_and_its_block_does_not_hold_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.toml");
    let mut file = String::new();
    let mut made = Vec::new();
    for tenant in ["acme", "umbrella"] {
        let args = ["keys", "new", "--tenant", tenant, "--scope", "admin", "--scope", "edit"];
        let output = Command::cargo_bin("retouch").unwrap().args(args).output().unwrap();
        assert!(output.status.success());
        let shown = String::from_utf8(output.stderr).unwrap();
        let key = shown.trim().rsplit(' ').next().unwrap().to_owned();
        assert!(key.starts_with("rt_") && key.len() == 67, "{shown}");
        let block = String::from_utf8(output.stdout).unwrap();
        assert!(!block.contains(&key), "{block}");
        file += &block;
        made.push((tenant, key));
    }
    fs::write(&path, file).unwrap();
    let keys = Keys::open(Some(&path)).unwrap();
    for (tenant, key) in made {
        let caller = keys.caller(&headers("x-api-key", &key)).unwrap();
        assert_eq!(caller.tenant, tenant);
        assert_eq!(caller.scopes, [Scope::Edit, Scope::Admin]);
    }
    let mut bad = Command::cargo_bin("retouch").unwrap();
    bad.args(["keys", "new", "--tenant", "a b"]).assert().code(2);
}
