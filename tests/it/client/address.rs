//! Client settings: the server's address, the API key, and which of them are printed.

use predicates::str::contains;

use crate::cli::Desk;

#[test]
fn a_server_that_is_not_there_is_named_with_a_remedy() {
    let desk = Desk::new();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{closed}");
    let run = desk.edit(["--server", &url]).assert().code(8);
    run.stderr(contains("can't be reached")).stderr(contains("check --server"));
    let run = desk.edit(["--server", "localhost:1"]).assert().code(2);
    run.stderr(contains("must start with http:// or https://"));
    desk.edit(["--ca", "ca.pem"]).assert().code(2).stderr(contains("--ca needs --server"));
    assert!(desk.files().is_empty());
}

#[test]
fn a_key_is_never_shown() {
    let desk = Desk::new();
    for args in [&["edit", "--help"][..], &["jobs", "list", "--help"]] {
        let mut command = desk.retouch(args.iter().copied());
        let run = command.env("RETOUCH_API_KEY", "secret-key").assert().success();
        let text = String::from_utf8(run.get_output().stdout.clone()).unwrap();
        assert!(text.contains("RETOUCH_API_KEY") && !text.contains("secret-key"), "{text}");
    }
}

#[test]
fn a_password_in_the_servers_address_is_refused_and_shown_nowhere() {
    let desk = Desk::new();
    for url in [
        "http://user:s3cret@localhost:1",
        "https://s3cret@localhost",
        "http://localhost:1?key=s3cret",
    ] {
        let calls =
            [desk.edit(["--server", url]), desk.retouch(["jobs", "list", "--server", url]), {
                let mut command = desk.retouch(["jobs", "list"]);
                command.env("RETOUCH_SERVER", url);
                command
            }];
        for mut call in calls {
            let run = call.assert().code(2).stderr(contains("--server http"));
            let said = String::from_utf8(run.get_output().stderr.clone()).unwrap();
            assert!(
                !said.contains("s3cret") && said.contains("which gRPC does not support"),
                "{said}"
            );
        }
        let mut help = desk.retouch(["edit", "--help"]);
        let run = help.env("RETOUCH_SERVER", url).assert().success();
        assert!(!String::from_utf8(run.get_output().stdout.clone()).unwrap().contains("s3cret"));
    }
}
