//! Tables and views as `information_schema` has them, and what stands behind them. Only what the provisioner has a right
//! on is listed, which is what it grants.

use std::collections::{BTreeMap, BTreeSet};

use affected::{Engine, Whole};
use model::event::Relation;

use super::connection::{Connection, Row};
use super::role::SYSTEM;
use crate::provision::connection::Trouble;

/// Tables of one server that are named; what is beyond has no name in the log.
const TABLES_MAX: usize = 10_000;
/// Of a view's definition so much is looked at.
const DEFINITION_CHARACTERS_MAX: usize = 16 * 1024;
/// Views over views.
const DEPTH_MAX: usize = 16;
/// Tables under one view.
const OVER_MAX: usize = 100;

/// Engines that keep the rows of a table with it.
const OF_ITS_OWN: &[&str] = &[
    "InnoDB",
    "MyISAM",
    "Aria",
    "MEMORY",
    "ARCHIVE",
    "CSV",
    "BLACKHOLE",
    "SEQUENCE",
    "ROCKSDB",
    "ColumnStore",
];

type Key = (String, String);

/// All of them.
pub(crate) async fn all(connection: &Connection) -> Result<Vec<Relation>, Trouble> {
    let attempt = "name tables";
    let listed = format!(
        "SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE, ENGINE FROM information_schema.tables \
         WHERE TABLE_SCHEMA NOT IN ({SYSTEM}) LIMIT {TABLES_MAX}"
    );
    let triggers = format!(
        "SELECT DISTINCT EVENT_OBJECT_SCHEMA, EVENT_OBJECT_TABLE FROM information_schema.triggers \
         WHERE EVENT_OBJECT_SCHEMA NOT IN ({SYSTEM})"
    );
    let keys = "SELECT CONSTRAINT_SCHEMA, TABLE_NAME, UNIQUE_CONSTRAINT_SCHEMA, REFERENCED_TABLE_NAME \
                FROM information_schema.referential_constraints";
    let views = format!(
        "SELECT TABLE_SCHEMA, TABLE_NAME, LEFT(VIEW_DEFINITION, {DEFINITION_CHARACTERS_MAX}) \
         FROM information_schema.views WHERE TABLE_SCHEMA NOT IN ({SYSTEM})"
    );
    let listed = connection.rows(attempt, &listed).await?;
    let triggers: BTreeSet<Key> =
        connection.rows(attempt, &triggers).await?.iter().map(|row| key(row, 0)).collect();
    let keys = connection.rows(attempt, keys).await?;
    let keys: BTreeSet<Key> = keys.iter().flat_map(|row| [key(row, 0), key(row, 2)]).collect();
    let views = connection.rows(attempt, &views).await?;
    let views: BTreeMap<Key, Vec<Key>> =
        views.iter().map(|row| (key(row, 0), read_by(row.text(2)))).collect();
    let relation = |row: &Row| described(row, (&triggers, &keys), &views);
    Ok(listed.iter().map(relation).collect())
}

fn key(row: &Row, column: usize) -> Key {
    (row.text(column).to_owned(), row.text(column + 1).to_owned())
}

/// The server keeps definitions with every name in full.
fn read_by(definition: &str) -> Vec<Key> {
    let analysis = affected::analyse(definition, Engine::MySql, Whole::Yes);
    let read = analysis.read.into_iter();
    read.filter_map(|name| Some((name.schema?, name.name))).collect()
}

fn described(
    row: &Row,
    (triggers, keys): (&BTreeSet<Key>, &BTreeSet<Key>),
    views: &BTreeMap<Key, Vec<Key>>,
) -> Relation {
    let key = key(row, 0);
    let (kind, engine) = (row.text(2), row.text(3));
    let kind = match kind {
        "BASE TABLE" | "SYSTEM VERSIONED" | "TEMPORARY" => "table",
        "VIEW" => "view",
        "SEQUENCE" => "sequence",
        "SYSTEM VIEW" => "systemView",
        _ => "relation",
    };
    let elsewhere =
        kind == "table" && !OF_ITS_OWN.iter().any(|own| engine.eq_ignore_ascii_case(own));
    let elsewhere = elsewhere.then(|| format!("rows that its engine `{engine}` has elsewhere"));
    let mut on_write = Vec::from_iter(elsewhere.clone());
    if triggers.contains(&key) {
        on_write.push("triggers".to_owned());
    }
    if keys.contains(&key) {
        on_write.push("foreign keys".to_owned());
    }
    let over = under(&key, views);
    let (schema, name) = key;
    Relation {
        schema,
        name,
        kind: kind.to_owned(),
        on_read: Vec::from_iter(elsewhere),
        on_write,
        over,
    }
}

/// What a view reads, through other views too.
fn under(view: &Key, views: &BTreeMap<Key, Vec<Key>>) -> Vec<Key> {
    let mut found = BTreeSet::new();
    let mut waiting = vec![view];
    for _ in 0..DEPTH_MAX {
        let next: Vec<&Key> =
            waiting.iter().filter_map(|view| views.get(*view)).flatten().collect();
        waiting = next.into_iter().filter(|key| found.insert((*key).clone())).collect();
    }
    found.remove(view);
    found.into_iter().take(OVER_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Key {
        let (schema, name) = text.split_once('.').unwrap();
        (schema.to_owned(), name.to_owned())
    }

    #[test]
    fn views_are_over_what_their_definitions_read_through_other_views() {
        let definition = "select `c`.`country` AS `country`,count(distinct `o`.`id`) AS `orders` \
                          from (`shop`.`customers` `c` join `shop`.`big orders` `o` on(`o`.`customer_id` = `c`.`id`))";
        assert_eq!(read_by(definition), [key("shop.big orders"), key("shop.customers")]);
        let views: BTreeMap<Key, Vec<Key>> = [
            (key("shop.a"), vec![key("shop.b"), key("other.t")]),
            (key("shop.b"), vec![key("shop.u"), key("shop.a")]),
        ]
        .into();
        assert_eq!(under(&key("shop.a"), &views), [key("other.t"), key("shop.b"), key("shop.u")]);
        assert_eq!(under(&key("shop.u"), &views), [] as [Key; 0]);
    }
}
