//! What tables are called, and what stands behind them, by oid.

use serde::Deserialize;
use tokio_postgres::types::Type;

use super::connection::{Connection, Parameter};
use crate::provision::connection::Trouble;

/// A relation as `pg_class` has it.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(crate) struct Relation {
    pub(crate) oid: u32,
    pub(crate) schema: String,
    pub(crate) name: String,
    /// `relkind`.
    pub(crate) kind: char,
    pub(crate) on_read: Vec<String>,
    pub(crate) on_write: Vec<String>,
    /// Of a view: schema and name of what it reads.
    pub(crate) over: Vec<(String, String)>,
}

const RELATIONS: &str = "\
SELECT coalesce(json_agg(json_build_object('oid', c.oid::int8, 'schema', n.nspname, 'name', c.relname,
  'kind', c.relkind,
  'on_read', array_remove(ARRAY[
    CASE WHEN c.relrowsecurity THEN 'row security' END,
    CASE WHEN c.relkind = 'p' OR EXISTS (SELECT FROM pg_inherits i WHERE i.inhparent = c.oid)
      THEN 'partitions or children' END], NULL),
  'on_write', array_remove(ARRAY[
    CASE WHEN c.relrowsecurity THEN 'row security' END,
    CASE WHEN c.relkind = 'p' OR EXISTS (SELECT FROM pg_inherits i WHERE i.inhparent = c.oid)
      THEN 'partitions or children' END,
    CASE WHEN EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal) THEN 'triggers' END,
    CASE WHEN EXISTS (SELECT FROM pg_constraint k WHERE k.contype = 'f' AND c.oid IN (k.conrelid, k.confrelid))
      THEN 'foreign keys' END,
    CASE WHEN c.relkind <> 'v' AND c.relhasrules THEN 'rules' END,
    CASE WHEN EXISTS (SELECT FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
      WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND t.typtype = 'd')
      THEN 'columns of a domain' END,
    CASE WHEN EXISTS (SELECT FROM pg_depend d WHERE d.refclassid = 'pg_proc'::regclass AND (
        d.classid = 'pg_attrdef'::regclass AND d.objid IN (SELECT x.oid FROM pg_attrdef x WHERE x.adrelid = c.oid)
        OR d.classid = 'pg_constraint'::regclass
          AND d.objid IN (SELECT k.oid FROM pg_constraint k WHERE k.conrelid = c.oid)
        OR d.classid = 'pg_class'::regclass
          AND d.objid IN (SELECT i.indexrelid FROM pg_index i WHERE i.indrelid = c.oid)))
      THEN 'expressions that call functions' END], NULL),
  'over', CASE WHEN c.relkind = 'v' THEN (
    WITH RECURSIVE under(oid) AS (
      SELECT d.refobjid FROM pg_rewrite w JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid
        WHERE w.ev_class = c.oid AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> w.ev_class
      UNION SELECT d.refobjid FROM under u JOIN pg_class v ON v.oid = u.oid AND v.relkind = 'v'
        JOIN pg_rewrite w ON w.ev_class = u.oid JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass
          AND d.objid = w.oid AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> w.ev_class)
    SELECT coalesce(json_agg(json_build_array(m.nspname, u.relname) ORDER BY m.nspname, u.relname), '[]')
    FROM (SELECT x.* FROM pg_class x JOIN under ON under.oid = x.oid WHERE x.relkind IN ('r', 'p', 'f', 'm', 'v')
      LIMIT 100) u JOIN pg_namespace m ON m.oid = u.relnamespace) ELSE '[]' END)), '[]')::text
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = ANY($1)";

/// What the catalogue of the connection's database says of these oids; what it does not have is left out.
pub(crate) async fn named(connection: &Connection, oids: &[u32]) -> Result<Vec<Relation>, Trouble> {
    let parameters: [Parameter<'_>; 1] = [(&oids, Type::OID_ARRAY)];
    connection.ask("name relations", RELATIONS, &parameters).await
}
