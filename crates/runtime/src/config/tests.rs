use super::*;

const FULL: &str = r#"
dataDirectory: state
origin: https://portcullis.example.com:8443
http: { listen: "127.0.0.1:8443" }
gateway:
  name: gateway-1
  secrets: secrets
  instanceMetadata: http://127.0.0.1:9
  addresses: [127.0.0.1, "::1"]
  listeners:
    - { name: postgresql, listen: "127.0.0.1:6432" }
    - name: postgresql-oauth
      protocol: postgresql
      listen: "127.0.0.1:6433"
      reachedAt: db.example.com:5432
      authentication: oauthbearer
      proxyProtocolFrom: [10.0.0.0/8]
  limits: { connectionsMax: 7, drain: 3s }
  stalenessLoginMax: 10s
masterKey: { file: keys/master.key }
audit: { directory: /var/log/portcullis, checkpointFile: outside/checkpoint }
seed: resources
token: { databaseTokenLifetime: 30m }
federation:
  authorities: authorities.pem
  issuers:
    - { issuer: "https://cluster.local", networks: [10.0.0.0/8], ca: cluster.pem, keys: /run/cluster.json }
log: { format: json }
"#;

fn parse(text: &str) -> Result<Config, ConfigError> {
    parse_in(text, &Environment::default())
}

fn parse_in(text: &str, environment: &Environment) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new("portcullis.yaml"), Path::new("/etc/portcullis"), environment)
}

fn minimal(extra: &str) -> String {
    format!(
        "origin: https://localhost\nhttp: {{ listen: \"[::1]:443\" }}\ngateway:\n  listeners:\n    \
         - {{ name: postgresql, listen: \"[::1]:6432\" }}\n{extra}"
    )
}

#[test]
fn every_field_is_read_and_relative_paths_count_from_the_files_folder() {
    let config = parse(FULL).unwrap();
    let expected = Config {
        data_directory: "/etc/portcullis/state".into(),
        origin: "https://portcullis.example.com:8443".into(),
        hosts: None,
        http: Http { listen: "127.0.0.1:8443".parse().unwrap() },
        gateway: Gateway {
            name: "gateway-1".into(),
            listeners: vec![
                Listener {
                    name: "postgresql".into(),
                    protocol: Protocol::PostgreSql,
                    listen: "127.0.0.1:6432".parse().unwrap(),
                    reached_at: None,
                    authentication: Authentication::Password,
                    proxy_protocol_from: vec![],
                    cancel_from: CancelFrom::SameAddress,
                    connections_max: None,
                },
                Listener {
                    name: "postgresql-oauth".into(),
                    protocol: Protocol::PostgreSql,
                    listen: "127.0.0.1:6433".parse().unwrap(),
                    reached_at: Some("db.example.com:5432".parse().unwrap()),
                    authentication: Authentication::OauthBearer,
                    proxy_protocol_from: vec!["10.0.0.0/8".parse().unwrap()],
                    cancel_from: CancelFrom::SameAddress,
                    connections_max: None,
                },
            ],
            addresses: vec!["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()],
            secrets: Some("/etc/portcullis/secrets".into()),
            instance_metadata: "http://127.0.0.1:9".into(),
            limits: Limits {
                connections_max: 7,
                drain: Lifetime::from_seconds(3),
                ..Limits::default()
            },
            staleness_login_max: Lifetime::from_seconds(10),
            staleness_session_max: Lifetime::from_seconds(300),
        },
        master_key: MasterKeySource::File("/etc/portcullis/keys/master.key".into()),
        audit: Audit {
            directory: "/var/log/portcullis".into(),
            checkpoint_file: Some("/etc/portcullis/outside/checkpoint".into()),
        },
        seed: Some("/etc/portcullis/resources".into()),
        token: Token { database_token_lifetime: Lifetime::from_seconds(1800), ..Token::default() },
        federation: Federation {
            authorities: "/etc/portcullis/authorities.pem".into(),
            issuers: vec![TrustedIssuer {
                issuer: "https://cluster.local".into(),
                networks: vec!["10.0.0.0/8".parse().unwrap()],
                ca: Some("/etc/portcullis/cluster.pem".into()),
                keys: Some("/run/cluster.json".into()),
            }],
        },
        log: Log { format: LogFormat::Json },
    };
    assert_eq!(config, expected);
}

#[test]
fn what_is_left_out_has_a_safe_default() {
    let config = parse(&minimal("")).unwrap();
    assert_eq!(config.data_directory, Path::new("/etc/portcullis/data"));
    assert_eq!(config.master_key, MasterKeySource::File("/etc/portcullis/data/master.key".into()));
    assert_eq!(config.audit.directory, Path::new("/etc/portcullis/data/audit"));
    assert_eq!(config.gateway.staleness_login_max, Lifetime::from_seconds(30));
    assert_eq!(config.gateway.listeners[0].authentication, Authentication::Password);
    assert_eq!(config.gateway.listeners[0].proxy_protocol_from, []);
}

#[test]
fn a_systemd_credential_wins_over_the_default_file_but_not_over_what_is_written() {
    let credentials = tempfile::tempdir().unwrap();
    let environment = Environment {
        credentials_directory: Some(credentials.path().to_owned()),
        ..Environment::default()
    };
    let file = MasterKeySource::File("/etc/portcullis/data/master.key".into());
    assert_eq!(parse_in(&minimal(""), &environment).unwrap().master_key, file);

    let credential = credentials.path().join(MASTER_KEY_CREDENTIAL);
    std::fs::write(&credential, "key").unwrap();
    let systemd = MasterKeySource::SystemdCredential(credential);
    assert_eq!(parse_in(&minimal(""), &environment).unwrap().master_key, systemd);
    let asked = minimal("masterKey: systemdCredential\n");
    assert_eq!(parse_in(&asked, &environment).unwrap().master_key, systemd);
    let written = minimal("masterKey: { file: /k }\n");
    let written = parse_in(&written, &environment).unwrap().master_key;
    assert_eq!(written, MasterKeySource::File("/k".into()));
}

#[test]
fn every_error_names_file_line_and_the_nearest_field() {
    let (texts, expected): (Vec<String>, Vec<&str>) = [
        (
            FULL.replace("connectionsMax", "conectionsMax"),
            "portcullis.yaml:18:13: `conectionsMax` is not a field here; did you mean `connectionsMax`?",
        ),
        (
            FULL.replace("oauthbearer", "oauth-bearer"),
            "portcullis.yaml:16:23: `oauth-bearer` is not a value here; did you mean `oauthbearer`?",
        ),
        (
            FULL.replace("seed:", "fish:"),
            "portcullis.yaml:22:1: `fish` is not a field here; known are `dataDirectory`, `origin`, `http`, \
             `hosts`, `gateway`, `masterKey`, `audit`, `seed`, `token`, `federation`, `log`",
        ),
        (
            FULL.replace("8443\nhttp", "8443/\nhttp"),
            "portcullis.yaml:3:9: `https://portcullis.example.com:8443/` is not an origin; write it like \
             `https://portcullis.example.com:8443`, without a slash at the end",
        ),
        (
            FULL.replace("10.0.0.0/8", "10.0.0.0/33"),
            "portcullis.yaml:17:27: `10.0.0.0/33` is not a range of addresses; write it like `10.0.0.0/8`, \
             `fd00::/8` or `10.1.2.3`",
        ),
        (
            FULL.replace("30m", "2h"),
            "portcullis.yaml:23:33: a database token lives from 1s to 1h15m; `2h` was given",
        ),
        (
            FULL.replace("databaseTokenLifetime: 30m", "accessTokenLifetime: 1d1s"),
            "portcullis.yaml:23:31: a token lives from 1s to 1d; `1d1s` was given",
        ),
        (
            FULL.replace("databaseTokenLifetime: 30m", "accessTokenLifetime: 0s"),
            "portcullis.yaml:23:31: a token lives from 1s to 1d; `0s` was given",
        ),
        (
            FULL.replace("databaseTokenLifetime: 30m", "refreshTokenLifetime: 2d"),
            "portcullis.yaml:23:32: a token lives from 1s to 1d; `2d` was given",
        ),
        (
            FULL.replace("name: postgresql-oauth", "name: postgresql"),
            "portcullis.yaml:11:5: two listeners are called `postgresql`",
        ),
        (
            FULL.replace("protocol: postgresql", "protocol: mysql"),
            "portcullis.yaml:11:5: listener `postgresql-oauth` cannot ask for `oauthbearer`, which MySQL's protocol does not have",
        ),
        (FULL.replace("origin:", "#origin:"), "portcullis.yaml:28:1: the field `origin` is missing"),
    ]
    .into_iter()
    .unzip();
    let errors: Vec<String> =
        texts.iter().map(|text| parse(text).unwrap_err().to_string()).collect();
    assert_eq!(errors, expected);
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = Config::load(Path::new("/nowhere/portcullis.yaml")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`/nowhere/portcullis.yaml` cannot be read: No such file or directory (os error 2)"
    );
}

#[test]
fn load_reads_what_parse_reads() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("portcullis.yaml");
    std::fs::write(&file, FULL).unwrap();
    let config = Config::load(&file).unwrap();
    assert_eq!(config.data_directory, folder.path().join("state"));
}

#[test]
fn a_network_holds_its_addresses_and_no_others() {
    for (network, address, holds) in [
        ("10.0.0.0/8", "10.255.0.1", true),
        ("10.0.0.0/8", "11.0.0.0", false),
        ("10.0.0.0/8", "::ffff:10.1.1.1", true),
        ("0.0.0.0/0", "203.0.113.9", true),
        ("0.0.0.0/0", "2001:db8::1", false),
        ("192.0.2.7", "192.0.2.7", true),
        ("192.0.2.7", "192.0.2.6", false),
        ("2001:db8::/32", "2001:db8:ffff::1", true),
        ("2001:db8::/32", "2001:db9::1", false),
        ("::/0", "2001:db9::1", true),
        ("::1", "::1", true),
    ] {
        let parsed: Network = network.parse().unwrap();
        assert_eq!(parsed.contains(address.parse().unwrap()), holds, "{network} {address}");
    }
    for text in ["", "10.0.0.0/", "10.0.0.0/33", "::/129", "10.0.0/8", "10.0.0.0/-1"] {
        assert!(text.parse::<Network>().is_err(), "{text}");
    }
}

#[test]
fn clients_reach_a_listener_at_the_origins_host_unless_it_is_said_where() {
    let config = parse(FULL).unwrap();
    let reached = |index: usize| config.reached_at(&config.gateway.listeners[index]).to_string();
    assert_eq!(reached(0), "portcullis.example.com:6432");
    assert_eq!(reached(1), "db.example.com:5432");
    for (origin, host) in [("https://[::1]:8443", "::1"), ("https://10.0.0.1:1", "10.0.0.1")] {
        let text = minimal("").replace("https://localhost", &format!("\"{origin}\""));
        assert_eq!(parse(&text).unwrap().host(), host);
    }
}

#[test]
fn a_host_and_its_port_are_read_as_they_are_printed() {
    for text in ["db.example.com:5432", "[::1]:1", "10.0.0.1:65535"] {
        assert_eq!(text.parse::<HostPort>().unwrap().to_string(), text);
    }
    for text in ["", "db", "db:", ":1", "db:0", "db:65536", "::1:1", "[::1]", "[db]:1", "a/b:1"] {
        assert!(text.parse::<HostPort>().is_err(), "{text}");
    }
}

#[test]
fn origins_are_https_without_a_path() {
    for (origin, fits) in [
        ("https://a", true),
        ("https://[::1]:8443", true),
        ("https://[::1]", true),
        ("https://10.0.0.1:1", true),
        ("http://a", false),
        ("https://", false),
        ("https://a:port", false),
        ("https://a:99999", false),
        ("https://a/", false),
        ("https://user@a", false),
        ("https://[::1", false),
    ] {
        let text = minimal("").replace("https://localhost", &format!("\"{origin}\""));
        assert_eq!(parse(&text).is_ok(), fits, "{origin}");
    }
}
