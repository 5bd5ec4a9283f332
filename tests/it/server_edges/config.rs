//! Server configuration: which source sets a key, and the errors for wrong keys.

use std::{fs, time::Duration};

use assert_cmd::Command;
use retouch::server::config::{Config, Devices, LogFormat};

/// Variables of an environment.
type Variables = &'static [(&'static str, &'static str)];
/// Variables and flags.
type Call<'a> = (&'a [(&'a str, &'a str)], &'a [&'a str]);
/// Words of a message, or flags.
type Words = &'static [&'static str];

/// `retouch serve --print-config` with these variables and flags: exit code, standard output, standard error.
fn serve(variables: &[(&str, &str)], flags: &[&str]) -> (i32, String, String) {
    let mut command = Command::cargo_bin("retouch").unwrap();
    command.args(["serve", "--print-config"]).args(flags).env_remove("RETOUCH_MODEL");
    command.envs(variables.iter().copied());
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn printed(variables: &[(&str, &str)], flags: &[&str]) -> Config {
    let (code, out, err) = serve(variables, flags);
    assert_eq!(code, 0, "{err}");
    toml::from_str(&out).unwrap()
}

#[test]
fn flags_go_before_the_environment_before_the_file_before_defaults() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("retouch.toml");
    fs::write(
        &file,
        "[server]\ndrain_timeout = \"10s\"\n[jobs]\nqueue_limit = 7\n[log]\nlevel = \"warn\"\nformat = \"json\"\n",
    )
    .unwrap();
    let variables = [
        ("RETOUCH__JOBS__QUEUE_LIMIT", "9"),
        ("RETOUCH__LOG__LEVEL", "retouch=debug,info"),
        ("RETOUCH__SERVER__CORS_ORIGINS", r#"["https://a.example", "https://b.example"]"#),
        ("RETOUCH__JOBS__MAX_TTL", "2days"),
    ];
    let flags = ["--config", file.to_str().unwrap(), "--log-level", "error", "--threads", "3"];
    let config = printed(&variables, &flags);
    assert_eq!(config.log.level, "error");
    assert_eq!(config.jobs.queue_limit, 9);
    assert_eq!(config.jobs.max_ttl, Duration::from_secs(2 * 24 * 3600));
    assert_eq!(config.server.cors_origins, ["https://a.example", "https://b.example"]);
    assert_eq!(config.server.drain_timeout, Duration::from_secs(10));
    assert_eq!(config.log.format, LogFormat::Json);
    assert_eq!(config.model.threads, Some(3));
    assert_eq!(config.jobs.tenant_queue_limit, Config::default().jobs.tenant_queue_limit);
}

#[test]
fn what_is_printed_is_a_file_that_says_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("printed.toml");
    let flags = ["--listen", "127.0.0.1:6000", "--tls-cert", "c.pem", "--tls-key", "k.pem"];
    let (_, first, _) = serve(&[], &flags);
    fs::write(&file, &first).unwrap();
    let (code, second, err) = serve(&[], &["--config", file.to_str().unwrap()]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert_eq!(first, second);
    assert!(first.contains("drain_timeout = \"25s\""), "{first}");
}

#[test]
fn a_part_of_tls_may_come_from_the_file_and_the_rest_from_the_environment() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("retouch.toml");
    fs::write(&file, "[tls]\ncert = \"c.pem\"\n").unwrap();
    let flags = ["--config", file.to_str().unwrap()];
    let config = printed(&[("RETOUCH__TLS__KEY", "k.pem")], &flags);
    assert!(config.tls.files().is_some());
    let (code, _, err) = serve(&[], &flags);
    assert_eq!(code, 2);
    assert!(err.contains("tls.cert is set, but tls.key is not"), "{err}");
}

#[test]
fn an_unknown_key_is_refused_by_its_name_wherever_it_came_from() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("typo.toml");
    let from_file = ["--config", file.to_str().unwrap()];
    let cases: [(&str, Variables, Words); 5] = [
        ("[server]\nlissen = \"127.0.0.1:1\"\n", &[], &["lissen", "typo.toml"]),
        ("[sever]\nlisten = \"127.0.0.1:1\"\n", &[], &["sever", "typo.toml"]),
        ("", &[("RETOUCH__SERVER__LISSEN", "127.0.0.1:1")], &["lissen", "environment"]),
        ("", &[("RETOUCH__SEVER__LISTEN", "127.0.0.1:1")], &["sever", "environment"]),
        // The file is right, and is not blamed.
        (
            "[jobs]\nqueue_limit = 3\n",
            &[("RETOUCH__JOBS__QUEUE_LIMITS", "3")],
            &["queue_limits", "environment"],
        ),
    ];
    for (text, variables, expected) in cases {
        fs::write(&file, text).unwrap();
        let (code, out, err) = serve(variables, &from_file);
        assert_eq!((code, out.as_str()), (2, ""), "{err}");
        assert_eq!(err.trim_end().lines().count(), 1, "{err}");
        for word in expected {
            assert!(err.contains(word), "{word} in: {err}");
        }
    }
}

#[test]
fn a_value_of_the_wrong_kind_is_refused_with_its_key() {
    let cases: [(Variables, Words, Words); 10] = [
        (
            &[],
            &["--engine", "kafka"],
            &["engine.kind", "found `kafka`, expected `embedded` or `nats`\n"],
        ),
        (
            &[("RETOUCH__MODEL__DTYPE", "fp9")],
            &[],
            &["expected one of `auto`, `fp32`", "RETOUCH__"],
        ),
        (&[("RETOUCH__JOBS__QUEUE_LIMIT", "many")], &[], &["jobs.queue_limit"]),
        (&[("RETOUCH__MODEL__DEVICES", "gpu")], &[], &["model.devices", "`gpu`", "cuda:0,cuda:1"]),
        (&[], &["--devices", "cpu,cuda:0"], &["model.devices", "`cpu,cuda:0`"]),
        (&[], &["--devices", "cuda:1,cuda:1"], &["model.devices", "`cuda:1,cuda:1`"]),
        (&[("RETOUCH__SERVER__DRAIN_TIMEOUT", "soon")], &[], &["server.drain_timeout"]),
        (&[], &["--drain-timeout", "soon"], &["server.drain_timeout"]),
        (&[("RETOUCH__LOG__FORMAT", "xml")], &[], &["log.format", "xml"]),
        (&[], &["--dtype", "fp8"], &["dtype", "fp8"]),
    ];
    for (variables, flags, expected) in cases {
        let (code, _, err) = serve(variables, flags);
        assert_eq!(code, 2, "{err}");
        for word in expected {
            assert!(err.contains(word), "{word} in: {err}");
        }
    }
}

#[test]
fn devices_are_one_processor_every_gpu_or_some() {
    let cases = [
        ("cpu", Devices::Cpu, 1),
        ("cuda", Devices::AllGpus, 8),
        ("cuda:3", Devices::Gpus(vec![3]), 8),
        ("cuda:1,cuda:0", Devices::Gpus(vec![1, 0]), 8),
    ];
    for (text, devices, max_batch) in cases {
        for config in [
            printed(&[("RETOUCH__MODEL__DEVICES", text)], &[]),
            printed(&[], &["--devices", text]),
            printed(&[], &["--device", text]),
        ] {
            assert_eq!(config.model.devices, devices, "{text}");
            assert_eq!(config.model.max_batch(), max_batch, "{text}");
        }
    }
}

#[test]
fn a_path_of_digits_stays_a_path() {
    let config = printed(&[("RETOUCH__JOBS__DATA_DIR", "2026")], &[]);
    assert_eq!(config.jobs.data_dir.unwrap().to_str(), Some("2026"));
}

#[test]
fn addresses_to_listen_on_are_read_alike_wherever_they_stand() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("retouch.toml");
    for (text, expected) in [
        ("localhost:6000", "127.0.0.1:6000"),
        ("[::1]:6000", "[::1]:6000"),
        ("127.0.0.1:0", "127.0.0.1:0"),
    ] {
        fs::write(&file, format!("[server]\nlisten = \"{text}\"\nops_listen = \"localhost:1\"\n"))
            .unwrap();
        for config in [
            printed(&[], &["--listen", text]),
            printed(&[("RETOUCH__SERVER__LISTEN", text)], &[]),
            printed(&[], &["--config", file.to_str().unwrap()]),
        ] {
            assert_eq!(config.server.listen.to_string(), expected);
        }
    }
    let everyone = printed(&[], &["--listen", ":6000", "--allow-anonymous"]);
    assert_eq!(everyone.server.listen.to_string(), "0.0.0.0:6000");
    for text in ["50051", "localhost:70000", "unix:/run/retouch.sock", "::1:50051"] {
        for (key, flag, variable) in [
            ("server.listen", "--listen", "RETOUCH__SERVER__LISTEN"),
            ("server.ops_listen", "--ops-listen", "RETOUCH__SERVER__OPS_LISTEN"),
        ] {
            for (code, out, err) in [serve(&[], &[flag, text]), serve(&[(variable, text)], &[])] {
                assert_eq!((code, out.as_str()), (2, ""), "{err}");
                assert_eq!(err.trim_end().lines().count(), 1, "{err}");
                for word in [key, "expected HOST:PORT"] {
                    assert!(err.contains(word), "{word} in: {err}");
                }
            }
        }
    }
}

#[test]
fn a_password_in_a_url_is_refused_and_told_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("retouch.toml");
    for url in [
        "http://user:s3cret@collector:4317",
        "https://s3cret@collector",
        "http://user:s3c/re?t@s3cret@collector:4317",
        "http://collector:4317/?token=s3cret",
    ] {
        fs::write(&file, format!("[otlp]\nendpoint = \"{url}\"\n")).unwrap();
        let cors = format!("[\"{url}\"]");
        let calls: [Call; 5] = [
            (&[], &["--otlp-endpoint", url]),
            (&[("RETOUCH__OTLP__ENDPOINT", url)], &[]),
            (&[], &["--config", file.to_str().unwrap()]),
            // Where no URL belongs.
            (&[("RETOUCH__OTLP", url)], &[]),
            (&[("RETOUCH__SERVER__CORS_ORIGINS", &cors)], &[]),
        ];
        for (variables, flags) in calls {
            let (code, out, err) = serve(variables, flags);
            assert_eq!((code, out.as_str()), (2, ""), "{err}");
            assert!(!err.contains("s3c") && !err.is_empty(), "{err}");
        }
    }
    let (_, _, err) = serve(&[], &["--otlp-endpoint", "http://user:s3cret@collector:4317"]);
    for word in
        ["otlp.endpoint", "http://…@collector:4317", "a user name or password", "http://HOST:PORT"]
    {
        assert!(err.contains(word), "{word} in: {err}");
    }
}

#[test]
fn a_configuration_that_can_not_be_served_says_which_key_and_why() {
    type Change = fn(&mut Config);
    let cases: [(Change, &str); 16] = [
        (|it| it.server.listen = "0.0.0.0:1".parse().unwrap(), "auth.keys_file"),
        (|it| it.server.ops_listen = it.server.listen, "server.ops_listen"),
        (|it| it.server.max_request_bytes = 0, "server.max_request_bytes is 0"),
        (|it| it.server.body_budget_bytes = 1 << 20, "33554432 to"),
        (|it| it.server.drain_timeout = Duration::ZERO, "drain_timeout is 0s; expected 1s to 1d"),
        (|it| it.server.stall_timeout = Duration::ZERO, "stall_timeout is 0s; expected 1s to 1d"),
        (|it| it.server.max_connections = 0, "max_connections is 0"),
        (
            |it| it.server.max_connections_per_address = Some(2000),
            "per_address is 2000; expected 1 to 1024",
        ),
        (|it| it.server.cors_origins = vec!["example.org".to_owned()], "`example.org`"),
        (|it| it.server.hosts = vec!["https://example.org".to_owned()], "server.hosts"),
        (|it| it.tls.client_ca = Some("ca.pem".into()), "tls.cert is not"),
        (|it| it.auth.burst = 0, "auth.burst is 0"),
        (|it| it.jobs.queue_limit = 0, "jobs.queue_limit is 0"),
        (|it| it.jobs.default_ttl = it.jobs.max_ttl * 2, "default_ttl is 14d; expected 1s to 7d"),
        (|it| it.log.level = "inof".to_owned(), "`inof`"),
        (|it| it.otlp.endpoint = Some("localhost:4317".to_owned()), "http://HOST:PORT"),
    ];
    assert_eq!(Config::default().check(), Ok(()));
    for (change, said) in cases {
        let mut config = Config::default();
        change(&mut config);
        let error = config.check().unwrap_err().to_string();
        assert!(error.contains(said), "{said} in: {error}");
    }
    let open = |config: &mut Config| config.server.listen = "0.0.0.0:1".parse().unwrap();
    let mut keyed = Config::default();
    open(&mut keyed);
    keyed.auth.keys_file = Some("keys.toml".into());
    assert_eq!(keyed.check(), Ok(()));
    let mut anonymous = Config::default();
    open(&mut anonymous);
    anonymous.server.allow_anonymous = true;
    assert_eq!(anonymous.check(), Ok(()));
}
