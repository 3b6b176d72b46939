use wire::mysql::command::{COMMANDS, Treatment, command};

#[test]
fn every_command_is_found_by_its_code_and_any_other_is_refused() {
    for code in 0..=255 {
        let known = COMMANDS.iter().find(|known| known.code == code);
        if let Some(known) = known {
            assert_eq!(command(code), known);
            continue;
        }
        let Treatment::Refused(report) = command(code).treatment else {
            panic!("{code:#04x} is forwarded")
        };
        assert_eq!((report.code, report.sqlstate), (1047, "08S01"));
    }
}

#[test]
fn what_is_forwarded_is_on_this_list() {
    let forwarded = COMMANDS.iter().filter(|each| !matches!(each.treatment, Treatment::Refused(_)));
    let names: Vec<_> = forwarded.map(|each| each.name.trim_start_matches("COM_")).collect();
    assert_eq!(
        names,
        [
            "QUIT",
            "INIT_DB",
            "QUERY",
            "FIELD_LIST",
            "CREATE_DB",
            "DROP_DB",
            "STATISTICS",
            "PROCESS_INFO",
            "PROCESS_KILL",
            "PING",
            "STMT_PREPARE",
            "STMT_EXECUTE",
            "STMT_SEND_LONG_DATA",
            "STMT_CLOSE",
            "STMT_RESET",
            "SET_OPTION",
            "STMT_FETCH",
            "RESET_CONNECTION",
            "STMT_BULK_EXECUTE",
        ]
    );
}

#[test]
fn what_runs_something_is_audited() {
    let audited = COMMANDS.iter().filter(|each| each.treatment == Treatment::Audited);
    let codes: Vec<_> = audited.map(|each| each.code).collect();
    assert_eq!(codes, [0x02, 0x03, 0x04, 0x05, 0x06, 0x0a, 0x0c, 0x17, 0x1c, 0xfa]);
}
