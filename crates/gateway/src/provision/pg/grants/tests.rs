use super::*;

fn observed() -> Observed {
    serde_json::from_value(serde_json::json!({
        "database": "orders", "may": true, "connect": ["r_old"],
        "schemas": [{"name": "public", "owner": "orders_owner", "may": true, "usable": [], "granted": ["r_old"]}],
        "relations": [
            {"schema": "public", "name": "orders", "class": "r", "owner": "orders_owner", "may": true,
             "held": [["r_old", "SELECT"], ["r_old", "TRUNCATE"], ["r_writer", "SELECT"]]},
            {"schema": "public", "name": "log", "class": "r", "owner": "postgres", "may": false},
            {"schema": "public", "name": "orders_id_seq", "class": "S", "owner": "orders_owner", "may": true},
        ],
        "creators": [
            {"schema": "public", "creator": "orders_owner", "may": true, "ours": false},
            {"schema": "public", "creator": "stranger", "may": false, "ours": false},
            {"schema": "public", "creator": "ada@example.com", "may": false, "ours": true},
        ],
        "defaults": [],
    }))
    .unwrap()
}

fn wanted(role: &str, level: Level, schemas: &[&str]) -> Rights {
    Rights {
        role: role.to_owned(),
        connects: level != Level::None,
        level,
        schemas: schemas.iter().map(|schema| (*schema).to_owned()).collect(),
    }
}

#[test]
fn a_reader_gets_select_on_tables_of_today_and_tomorrow_and_nothing_more() {
    let plan = plan(&observed(), &[wanted("r_reader", Level::Read, &["public"])]);
    assert_eq!(
        plan.statements,
        [
            "GRANT CONNECT ON DATABASE \"orders\" TO \"r_reader\";\n",
            "GRANT USAGE ON SCHEMA \"public\" TO \"r_reader\";\n",
            "GRANT SELECT ON TABLE \"public\".\"orders\" TO \"r_reader\";\n",
            "GRANT \"ada@example.com\" TO \"portcullis_provisioner\";\n\
             ALTER DEFAULT PRIVILEGES FOR ROLE \"ada@example.com\" IN SCHEMA \"public\" GRANT SELECT ON TABLES TO \"r_reader\";\n\
             REVOKE \"ada@example.com\" FROM \"portcullis_provisioner\";\n",
            "ALTER DEFAULT PRIVILEGES FOR ROLE \"orders_owner\" IN SCHEMA \"public\" GRANT SELECT ON TABLES TO \"r_reader\";\n",
        ]
    );
}

#[test]
fn what_cannot_be_granted_is_reported_by_owner() {
    let plan = plan(&observed(), &[wanted("r_reader", Level::Read, &["public"])]);
    assert_eq!(
        plan.findings,
        [
            "`r_reader` lacks rights on 1 objects of `postgres` in schema `public` of `orders`: run `portcullis server enroll` again",
            "what `stranger` creates in schema `public` of `orders` will not be open to `r_reader`: run `portcullis server enroll` again",
        ]
    );
}

#[test]
fn a_writer_gets_only_what_it_lacks() {
    let plan = plan(&observed(), &[wanted("r_writer", Level::Write, &["public"])]);
    assert!(
        plan.statements.contains(
            &"GRANT INSERT, UPDATE, DELETE ON TABLE \"public\".\"orders\" TO \"r_writer\";\n"
                .to_owned()
        )
    );
    assert!(plan.statements.contains(
        &"GRANT USAGE, SELECT, UPDATE ON SEQUENCE \"public\".\"orders_id_seq\" TO \"r_writer\";\n".to_owned()
    ));
}

#[test]
fn a_role_that_is_gone_loses_everything_it_held() {
    let plan = plan(&observed(), &[wanted("r_old", Level::None, &[])]);
    assert_eq!(
        plan.statements,
        [
            "REVOKE CONNECT ON DATABASE \"orders\" FROM \"r_old\";\n",
            "REVOKE ALL ON SCHEMA \"public\" FROM \"r_old\";\n",
            "REVOKE SELECT, TRUNCATE ON TABLE \"public\".\"orders\" FROM \"r_old\";\n",
        ]
    );
}

#[test]
fn a_schema_that_does_not_exist_is_named() {
    let plan = plan(&observed(), &[wanted("r_reader", Level::Read, &["reports"])]);
    assert_eq!(plan.findings, ["database `orders` has no schema `reports`"]);
}
