use clap::CommandFactory;

use super::*;

fn said(arguments: &str) -> String {
    let arguments = std::iter::once("portcullis").chain(arguments.split_whitespace());
    match Cli::try_parse_from(arguments) {
        Ok(cli) => panic!("{cli:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn the_tree_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn help_names_every_verb() {
    insta::assert_snapshot!(Cli::command().term_width(110).render_help(), @r"
    Zero trust in front of PostgreSQL: no passwords, access that is asked for, approved, recorded and taken away

    Usage: portcullis [OPTIONS] <COMMAND>

    Commands:
      server              Run the server, or prepare a database server for it
      init                Create an installation: keys, tenant and first owner
      login               Sign in; with a Temporary Access Pass: enrol this machine
      logout              Forget the tokens kept on this machine
      token               Print a token that clients give as their password
      connect             Start psql, mariadb or another client, signed in
      proxy               Listen on this machine for tools and applications that know no tokens, and add the token
      apply               Create and change resources from files
      get                 List resources, or show one
      describe            Show one resource with everything that is known of it
      delete              Delete a resource
      schema              Print the JSON Schema of a kind
      explain             Say why someone may, or may not, connect: every condition and its outcome
      request             Ask for membership of a group for a while
      approve             Approve a request
      deny                Deny a request
      cancel              Take your own request back
      deactivate          End your own membership early
      revoke              End someone's membership now; their sessions are cut
      conditional-access  Policies of conditional access
      user                People's sign-in
      application         Workloads' credentials
      scim                Directories that push people and groups
      host                Machines whose workloads get tokens from an agent
      agent               The agent of this machine
      sessions            List live sessions
      cut                 Cut live sessions
      why                 Say how and why a session was refused, or ended
      doctor              Look for the usual mistakes, and say what to do about each
      audit               Read the audit log, or verify it
      store               Back the store up, or restore it
      authority           Authorities that sign certificates
      signing-key         The key that signs tokens
      master-key          The key that seals all other keys
      kubernetes          Run in, or install into, a Kubernetes cluster
      recover-owner       Make an owner able to sign in again, on the server's own host
      completions         Print a completion script for a shell
      help                Print this message or the help of the given subcommand(s)

    Options:
      -h, --help     Print help (see more with '--help')
      -V, --version  Print version

    Connection:
          --url <URL>  Address of the installation, such as `https://portcullis.example.com:8443` [env:
                       PORTCULLIS_URL]
          --ca <FILE>  PEM file of the installation's authority [env: PORTCULLIS_CA]

    Output:
      -o, --output <OUTPUT>  How to print what was asked for [default: table] [possible values: table, json, yaml]

    Exit codes: 0 done, 1 failed, 2 wrong usage, 3 refused by the rules, 4 not signed in, 5 unreachable,
                6 `doctor` found something
    Environment: PORTCULLIS_URL, PORTCULLIS_CA, PORTCULLIS_HOME (device key and tokens)
    ");
}

#[test]
fn wrong_usage_is_answered_with_the_nearest_right_one() {
    insta::assert_snapshot!(said("reqest orders-readers"), @r"
    error: unrecognized subcommand 'reqest'

      tip: a similar subcommand exists: 'request'

    Usage: portcullis [OPTIONS] <COMMAND>

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(said("get gruops"), @r"
    error: invalid value 'gruops' for '<KIND>': there is no such kind; did you mean `groups`?

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(said("get colours"), @r"
    error: invalid value 'colours' for '<KIND>': there is no such kind; kinds are: tenants, users, groups, applications, managedidentities, hosts, databaseservers, databaseroles, roleassignments, eligibilities, accessrules, firewallrules, namedlocations, conditionalaccesspolicies, principalrisks, activations, databaseusers, signingkeys, revocations

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(said("request orders-readers --for 30"), @r"
    error: invalid value '30' for '--for <DURATION>': `30` is not a length of time; write it like `90s`, `30m`, `8h`, `1h30m` or `PT2H`

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(said("cut"), @r"
    error: the following required arguments were not provided:
      <SESSION|--principal <NAME>|--server <NAME>>

    Usage: portcullis cut <SESSION|--principal <NAME>|--server <NAME>>

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(said("approve 12"), @r"
    error: invalid value '12' for '<ACTIVATION>': it is not an id; `portcullis get activations` lists them

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(said("audit verify --directory log"), @r"
    error: the following required arguments were not provided:
      --public-key <KEY>

    Usage: portcullis audit verify --directory <DIR> --public-key <KEY>

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(said("server"), @r"
    error: the following required arguments were not provided:
      --config <FILE>

    Usage: portcullis server --config <FILE>

    For more information, try '--help'.
    ");
}

#[test]
fn a_server_runs_or_is_enrolled_under_one_verb() {
    let parsed = |arguments: &str| {
        let arguments = std::iter::once("portcullis").chain(arguments.split_whitespace());
        Cli::try_parse_from(arguments).unwrap().command
    };
    let Command::Server(server) = parsed("server --config portcullis.yaml") else { panic!() };
    assert_eq!(server.config, Some(PathBuf::from("portcullis.yaml")));
    let Command::Server(server) = parsed("server enroll orders") else { panic!() };
    assert!(matches!(server.command, Some(ServerCommand::Enroll(_))));
    let Command::Audit(audit) = parsed("audit --since 2h --type statement") else { panic!() };
    assert_eq!((audit.search.since.as_str(), audit.command.is_none()), ("2h", true));
}
