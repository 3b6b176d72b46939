//! The parsed text, looked through: which names are read, which are written, and what may hide others.

use std::ops::ControlFlow;
use std::ptr;

use sqlparser::ast::{
    BinaryOperator, CascadeOption, CopySource, DataType, Expr, FromTable, Ident, Insert,
    ObjectName, ObjectNamePart, OnInsert, Query, Select, SetExpr, Statement, TableFactor,
    TableObject, Visit, Visitor,
};
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;

use crate::name::Name;
use crate::{Analysis, Engine, builtin};

mod mysql;

/// PostgreSQL's statements, or why they cannot be parsed.
pub(crate) fn postgresql(text: &str) -> Result<Analysis, &'static str> {
    statements(text, Engine::PostgreSql)
}

/// Statements of MySQL's or MariaDB's, likewise.
pub(crate) fn mysql(text: &str) -> Result<Analysis, &'static str> {
    statements(text, Engine::MySql)
}

fn statements(text: &str, engine: Engine) -> Result<Analysis, &'static str> {
    let statements = parsed(text, engine).map_err(|_| NOT_PARSED)?;
    let mut walk = Walk::new(engine);
    for statement in &statements {
        let ControlFlow::Continue(()) = statement.visit(&mut walk);
        walk.outside = Role::Read;
    }
    Ok(walk.analysis)
}

/// Why names are picked out of a text.
pub(crate) const NOT_PARSED: &str = "it could not be parsed";

/// All of the text; the parser's own loop takes an `END` for the end.
fn parsed(text: &str, engine: Engine) -> Result<Vec<Statement>, ParserError> {
    let mut parser = Parser::new(engine.dialect()).try_with_sql(text)?;
    let mut statements = Vec::new();
    loop {
        while parser.consume_token(&Token::SemiColon) {}
        if parser.peek_token() == Token::EOF {
            return Ok(statements);
        }
        statements.push(parser.parse_statement()?);
        if parser.peek_token() != Token::EOF {
            parser.expect_token(&Token::SemiColon)?;
        }
    }
}

struct Walk {
    engine: Engine,
    analysis: Analysis,
    /// Queries around this place, the nearest last.
    scopes: Vec<Scope>,
    /// Names whose role is not that of their surroundings, by where they stand.
    roles: Vec<(*const ObjectName, Role)>,
    /// What names outside of every query are.
    outside: Role,
}

/// What a name stands for.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Role {
    /// A table whose rows are looked at.
    #[default]
    Read,
    /// A table that is changed without being looked at.
    Written,
    /// A table whose rows are looked at and changed.
    Both,
    /// No table: a function, or another name of a table that stands elsewhere.
    None,
}

/// The names that a query's WITH gives to others.
struct Scope {
    names: Vec<(*const Query, String)>,
    /// So many of them are known at this place.
    known: usize,
}

impl Visitor for Walk {
    type Break = std::convert::Infallible;

    fn pre_visit_statement(&mut self, statement: &Statement) -> ControlFlow<Self::Break> {
        self.statement(statement);
        ControlFlow::Continue(())
    }

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Self::Break> {
        let with = query.with.as_ref();
        let ctes = with.map(|with| with.cte_tables.as_slice()).unwrap_or_default();
        let names: Vec<_> = ctes
            .iter()
            .map(|cte| (ptr::from_ref::<Query>(&cte.query), self.engine.folded(&cte.alias.name)))
            .collect();
        let known = if with.is_some_and(|with| with.recursive) { names.len() } else { 0 };
        self.scopes.push(Scope { names, known });
        // A part of WITH knows those before it; the query itself, and what has none, knows all.
        if ctes.is_empty() {
            self.tables(&query.body);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<Self::Break> {
        if query.with.is_some() {
            self.tables(&query.body);
        }
        self.scopes.pop();
        if let Some(scope) = self.scopes.last_mut()
            && let Some(at) = scope.names.iter().position(|(part, _)| ptr::eq(*part, query))
        {
            scope.known = scope.known.max(at + 1);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<Self::Break> {
        if let Some(into) = &select.into {
            for target in &into.targets {
                let parts = match target {
                    Expr::Identifier(name) => vec![name.clone()],
                    Expr::CompoundIdentifier(parts) => parts.clone(),
                    _ => Vec::new(),
                };
                self.take(&ObjectName::from(parts), Role::Written);
            }
            self.analysis.because(DEFINES);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<Self::Break> {
        match factor {
            TableFactor::Table { name, args: Some(_), .. } => {
                self.roles.push((ptr::from_ref(name), Role::None));
                self.function(name);
            }
            TableFactor::Function { name, .. } => self.function(name),
            TableFactor::Table { .. }
            | TableFactor::Derived { .. }
            | TableFactor::NestedJoin { .. }
            | TableFactor::UNNEST { .. }
            | TableFactor::JsonTable { .. }
            | TableFactor::XmlTable { .. } => {}
            _ => self.analysis.because("it has a kind of table that is not looked into"),
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, name: &ObjectName) -> ControlFlow<Self::Break> {
        let own = self.roles.iter().find(|(place, _)| ptr::eq(*place, name));
        let role = match own {
            Some((_, role)) => *role,
            None if self.scopes.is_empty() => self.outside,
            None => Role::Read,
        };
        self.take(name, role);
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Self::Break> {
        match expr {
            Expr::Function(function) if self.is_key_part(function) => {}
            Expr::Function(function) => self.function(&function.name),
            Expr::Cast { data_type: DataType::Custom(name, _), .. } => self.cast(name),
            Expr::TypedString(typed) => {
                if let DataType::Custom(name, _) = &typed.data_type {
                    self.cast(name);
                }
            }
            Expr::BinaryOp { op, .. }
            | Expr::AnyOp { compare_op: op, .. }
            | Expr::AllOp { compare_op: op, .. } => {
                if let BinaryOperator::PGCustomBinaryOperator(_) | BinaryOperator::Custom(_) = op {
                    self.analysis.because("it uses an operator that is not known");
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

pub(crate) const NO_NAME: &str = "it has a name that is not a table's";
pub(crate) const DEFINES: &str = "it changes definitions, which can touch more than they name";

impl Walk {
    fn new(engine: Engine) -> Self {
        let (analysis, scopes, roles) = (Analysis::default(), Vec::new(), Vec::new());
        Self { engine, analysis, scopes, roles, outside: Role::default() }
    }

    /// The statement's own targets, and what its kind hides.
    fn statement(&mut self, statement: &Statement) {
        match statement {
            Statement::Query(_) | Statement::Lock(_) => {}
            Statement::Insert(insert) => self.insert(insert),
            Statement::Update(update) if self.engine == Engine::MySql => self.mysql_update(update),
            Statement::Update(update) => self.target(&update.table.relation),
            Statement::Delete(delete) if self.engine == Engine::MySql => self.mysql_delete(delete),
            Statement::Delete(delete) => {
                let (FromTable::WithFromKeyword(from) | FromTable::WithoutKeyword(from)) =
                    &delete.from;
                for table in from {
                    self.target(&table.relation);
                }
            }
            Statement::Merge(merge) => self.target(&merge.table),
            Statement::Copy { source: CopySource::Table { table_name, .. }, to, .. } => {
                self.take(table_name, if *to { Role::Read } else { Role::Written });
            }
            Statement::Copy { source: CopySource::Query(_), .. } => {}
            Statement::Truncate(truncate) => {
                self.outside = Role::Written;
                if matches!(truncate.cascade, Some(CascadeOption::Cascade)) {
                    self.analysis
                        .because("TRUNCATE … CASCADE empties tables that it does not name");
                }
            }
            other => self.other(other),
        }
    }

    fn insert(&mut self, insert: &Insert) {
        let looks = insert.returning.is_some()
            || matches!(
                &insert.on,
                Some(OnInsert::OnConflict(_) | OnInsert::DuplicateKeyUpdate(_))
            )
            || insert.replace_into
            || insert.ignore;
        let role = if looks { Role::Both } else { Role::Written };
        match &insert.table {
            TableObject::TableName(name) => self.roles.push((ptr::from_ref(name), role)),
            TableObject::TableFunction(_) | TableObject::TableQuery(_) => {
                self.analysis.because(OTHER_KIND);
            }
        }
    }

    fn other(&mut self, statement: &Statement) {
        match statement {
            Statement::Set(_)
            | Statement::ShowVariable { .. }
            | Statement::Commit { .. }
            | Statement::Rollback { .. }
            | Statement::Savepoint { .. }
            | Statement::ReleaseSavepoint { .. }
            | Statement::Deallocate { .. }
            | Statement::Discard { .. }
            | Statement::Close { .. }
            | Statement::Reset(_)
            | Statement::LISTEN { .. }
            | Statement::UNLISTEN { .. }
            | Statement::NOTIFY { .. } => {}
            Statement::StartTransaction { statements, .. } if statements.is_empty() => {}
            Statement::Explain { analyze: true, .. } => {}
            Statement::Explain { options, .. } => {
                let options = options.iter().flatten();
                if !options.clone().any(|option| option.name.value.eq_ignore_ascii_case("analyze"))
                {
                    self.analysis.because("EXPLAIN without ANALYZE only plans");
                }
            }
            Statement::Prepare { .. } => self.analysis.because("PREPARE runs nothing yet"),
            Statement::Execute { .. } => {
                self.analysis.because("EXECUTE runs what an earlier PREPARE said");
            }
            Statement::Declare { .. } => {
                self.analysis.because("a cursor reads when rows are fetched from it");
            }
            Statement::Fetch { .. } => {
                self.analysis.because("FETCH reads what an earlier DECLARE said");
            }
            Statement::Call(function) => self.function(&function.name),
            definition if is_definition(definition) => {
                self.outside = Role::Written;
                self.passed_over(definition);
                self.analysis.because(DEFINES);
            }
            _ => self.analysis.because(OTHER_KIND),
        }
    }

    /// Names that the parser's own visit passes over.
    fn passed_over(&mut self, statement: &Statement) {
        match statement {
            Statement::Drop { object_type, names, .. }
                if DROPPED.contains(&object_type.to_string().as_str()) =>
            {
                for name in names {
                    self.take(name, Role::Written);
                }
            }
            definition if self.engine == Engine::MySql => self.mysql_definition(definition),
            _ => {}
        }
    }

    fn target(&mut self, factor: &TableFactor) {
        match factor {
            TableFactor::Table { name, .. } => {
                self.roles.push((ptr::from_ref(name), Role::Both));
            }
            _ => self.analysis.because(OTHER_KIND),
        }
    }

    fn take(&mut self, name: &ObjectName, role: Role) {
        if self.engine == Engine::MySql && mysql::is_dual(name) {
            return;
        }
        let Some(name) = Name::of(name, self.engine) else {
            self.analysis.because(NO_NAME);
            return;
        };
        match role {
            Role::Read if self.is_given(&name) => {}
            Role::Read => self.analysis.read(name),
            Role::Written => self.analysis.write(name),
            Role::Both => {
                self.analysis.read(name.clone());
                self.analysis.write(name);
            }
            Role::None => {}
        }
    }

    /// Whether a WITH around this place gives the name to a query.
    fn is_given(&self, name: &Name) -> bool {
        name.schema.is_none()
            && self.scopes.iter().any(|scope| {
                scope.names.iter().take(scope.known).any(|(_, given)| *given == name.name)
            })
    }

    /// `TABLE name`, which the parser does not take for a relation.
    fn tables(&mut self, body: &SetExpr) {
        let mut waiting = vec![body];
        while let Some(body) = waiting.pop() {
            match body {
                SetExpr::SetOperation { left, right, .. } => waiting.extend([&**left, &**right]),
                SetExpr::Table(table) => {
                    let parts = [&table.schema_name, &table.table_name];
                    let parts: Vec<Ident> = parts.into_iter().flatten().cloned().collect();
                    self.take(&ObjectName::from(parts), Role::Read);
                }
                _ => {}
            }
        }
    }

    fn function(&mut self, name: &ObjectName) {
        let engine = self.engine;
        if !self.is_its_own(name, |name| engine.is_pure(name)) {
            self.analysis.because(format!("it calls {}", self.said(name)));
        }
    }

    fn cast(&mut self, name: &ObjectName) {
        if !self.is_its_own(name, builtin::is_type) {
            self.analysis.because(format!("it converts to {}", self.said(name)));
        }
    }

    /// Whether a function or type is one of the server's own that is known.
    fn is_its_own(&self, name: &ObjectName, known: impl Fn(&str) -> bool) -> bool {
        let folded = |name: &Ident| self.engine.folded(name);
        match name.0.as_slice() {
            [ObjectNamePart::Identifier(name)] => known(&folded(name)),
            [ObjectNamePart::Identifier(schema), ObjectNamePart::Identifier(name)] => {
                self.engine.schema_of_its_own() == Some(folded(schema).as_str())
                    && known(&folded(name))
            }
            _ => false,
        }
    }

    fn said(&self, name: &ObjectName) -> String {
        let name = Name::of(name, self.engine);
        name.map_or_else(|| "something".to_owned(), |name| format!("`{}`", name.shown(self.engine)))
    }
}

pub(crate) const OTHER_KIND: &str = "a statement of its kind is not looked into";

/// Kinds of what DROP takes that hold rows, or show them.
const DROPPED: &[&str] = &["TABLE", "VIEW", "MATERIALIZED VIEW"];

fn is_definition(statement: &Statement) -> bool {
    matches!(
        statement,
        Statement::CreateTable(_)
            | Statement::CreateForeignTable(_)
            | Statement::CreateView(_)
            | Statement::CreateIndex(_)
            | Statement::CreateTrigger(_)
            | Statement::CreatePolicy(_)
            | Statement::CreateRule(_)
            | Statement::AlterTable(_)
            | Statement::AlterView(_)
            | Statement::AlterPolicy(_)
            | Statement::AlterTrigger(_)
            | Statement::Drop { .. }
            | Statement::RefreshMaterializedView(_)
    )
}
