//! The API's description against the server: what schemathesis makes of it is answered as described. `make test-http`
//! runs this.

use std::{env, path::Path, process::Command, time::Duration};

use crate::service::{harness::Harness, script::Script};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs schemathesis: make test-http"]
async fn every_answer_is_one_that_is_described() {
    let schemathesis = env::var("SCHEMATHESIS").expect("make test-http names it");
    let cases = env::var("HTTP_CASES").expect("make test-http says how many");
    let quick = Script::with_steps_of(Duration::ZERO);
    let server = Harness::real(None, || Box::new(quick)).await;
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(schemathesis);
    command
        .args(["run", &format!("{}/v1/openapi.json", server.url)])
        .args(["--phases", "examples,coverage,fuzzing", "--max-examples", &cases])
        .args([
            "--workers",
            "4",
            "--seed",
            "1",
            "--continue-on-failure",
            "--no-shrink",
            "--no-color",
        ])
        .args(["--checks", CHECKS, "--request-timeout", "60", "--generation-database", "none"])
        .args(["--suppress-health-check", "all"])
        .env("SCHEMATHESIS_HOOKS", root.join("tests/http/hooks.py"))
        .current_dir(folder.path());
    let status = tokio::task::spawn_blocking(move || command.status()).await.unwrap().unwrap();
    assert!(status.success(), "an answer is not as it is described");
}

/// No error of the server, and no answer that is not described; what is refused has a table of its own in these tests.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
    response_headers_conformance,response_schema_conformance,errors_are_in_shape";
