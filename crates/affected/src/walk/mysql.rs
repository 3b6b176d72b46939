//! What MySQL's changes say in a way of their own: several tables at once, by other names.

use std::ptr;

use sqlparser::ast::{
    AlterTableOperation, AssignmentTarget, CreateTableLikeKind, Delete, Expr, FromTable, Function,
    FunctionArg, FunctionArgExpr, FunctionArguments, ObjectName, ObjectNamePart,
    RenameTableNameKind, Statement, TableFactor, TableWithJoins, Update, Value,
};

use super::{OTHER_KIND, Role, Walk};
use crate::Engine;

/// A table of a change, and the name that the rest of the statement has for it.
struct Target<'a> {
    called: String,
    name: &'a ObjectName,
}

/// What a query is from that is from no table; a table of this name stands in quotes.
pub(super) fn is_dual(name: &ObjectName) -> bool {
    match name.0.as_slice() {
        [ObjectNamePart::Identifier(name)] => {
            name.quote_style.is_none() && name.value.eq_ignore_ascii_case("dual")
        }
        _ => false,
    }
}

const UNCLEAR: &str = "it does not say which of its tables it changes";

impl Walk {
    /// Only those are changed whose columns are set.
    pub(super) fn mysql_update(&mut self, update: &Update) {
        let targets = self.targets([&update.table]);
        if let [only] = targets.as_slice() {
            self.changed(only.name);
            return;
        }
        for assignment in &update.assignments {
            let columns = match &assignment.target {
                AssignmentTarget::ColumnName(column) => std::slice::from_ref(column),
                AssignmentTarget::Tuple(columns) => columns.as_slice(),
            };
            for column in columns {
                let table = match column.0.as_slice() {
                    [.., table, _] => self.found(&targets, table),
                    _ => None,
                };
                self.changed_or_any(table, &targets);
            }
        }
    }

    /// `DELETE FROM t …`, `DELETE t, u FROM …`, `DELETE FROM t, u USING …`.
    pub(super) fn mysql_delete(&mut self, delete: &Delete) {
        let (FromTable::WithFromKeyword(from) | FromTable::WithoutKeyword(from)) = &delete.from;
        if let Some(using) = &delete.using {
            let targets = self.targets(using);
            for table in from {
                let TableFactor::Table { name, .. } = &table.relation else {
                    self.analysis.because(OTHER_KIND);
                    continue;
                };
                self.roles.push((ptr::from_ref(name), Role::None));
                let found = name.0.last().and_then(|name| self.found(&targets, name));
                self.changed_or_any(found, &targets);
            }
            return;
        }
        let targets = self.targets(from);
        if delete.tables.is_empty() {
            for target in &targets {
                self.changed(target.name);
            }
        }
        for name in &delete.tables {
            let found = name.0.last().and_then(|name| self.found(&targets, name));
            self.changed_or_any(found, &targets);
        }
    }

    /// The parser's own visit passes over the table that another is made like, and over a table's new name.
    pub(super) fn mysql_definition(&mut self, statement: &Statement) {
        match statement {
            Statement::CreateTable(create) => {
                if let Some(
                    CreateTableLikeKind::Plain(like) | CreateTableLikeKind::Parenthesized(like),
                ) = &create.like
                {
                    self.take(&like.name, Role::Read);
                }
            }
            Statement::AlterTable(alter) => {
                for operation in &alter.operations {
                    if let AlterTableOperation::RenameTable { table_name } = operation {
                        let (RenameTableNameKind::As(name) | RenameTableNameKind::To(name)) =
                            table_name;
                        self.take(name, Role::Written);
                    }
                }
            }
            _ => {}
        }
    }

    /// `x(3)` in a definition's key: the beginning of a column.
    pub(super) fn is_key_part(&self, function: &Function) -> bool {
        let FunctionArguments::List(list) = &function.args else { return false };
        let length = |argument: &FunctionArg| match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(value))) => {
                matches!(value.value, Value::Number(..) | Value::Placeholder(_))
            }
            _ => false,
        };
        self.engine == Engine::MySql
            && self.outside == Role::Written
            && self.scopes.is_empty()
            && list.args.len() == 1
            && list.args.iter().all(length)
    }

    fn changed(&mut self, name: &ObjectName) {
        self.roles.push((ptr::from_ref(name), Role::Both));
    }

    fn changed_or_any(&mut self, found: Option<usize>, targets: &[Target<'_>]) {
        if let Some(target) = found.and_then(|at| targets.get(at)) {
            self.changed(target.name);
            return;
        }
        self.analysis.because(UNCLEAR);
        for target in targets {
            self.changed(target.name);
        }
    }

    /// By the name that the statement has for it; of several, none.
    fn found(&self, targets: &[Target<'_>], called: &ObjectNamePart) -> Option<usize> {
        let ObjectNamePart::Identifier(called) = called else { return None };
        let called = self.engine.folded(called);
        let is = |(_, target): &(usize, &Target<'_>)| target.called.eq_ignore_ascii_case(&called);
        let mut fitting = targets.iter().enumerate().filter(is);
        match (fitting.next(), fitting.next()) {
            (Some((at, _)), None) => Some(at),
            _ => None,
        }
    }

    /// The tables that can be changed: what a parenthesis joins too, but no query.
    fn targets<'a>(&self, from: impl IntoIterator<Item = &'a TableWithJoins>) -> Vec<Target<'a>> {
        let mut waiting: Vec<&TableWithJoins> = from.into_iter().collect();
        let mut targets = Vec::new();
        while let Some(TableWithJoins { relation, joins }) = waiting.pop() {
            for factor in std::iter::once(relation).chain(joins.iter().map(|join| &join.relation)) {
                match factor {
                    TableFactor::Table { name, alias, args: None, .. } => {
                        let alias = alias.as_ref().map(|alias| &alias.name);
                        let last = name.0.last().and_then(|part| match part {
                            ObjectNamePart::Identifier(name) => Some(name),
                            ObjectNamePart::Function(_) => None,
                        });
                        let called = alias.or(last).map(|name| self.engine.folded(name));
                        targets.extend(called.map(|called| Target { called, name }));
                    }
                    TableFactor::NestedJoin { table_with_joins, .. } => {
                        waiting.push(table_with_joins);
                    }
                    _ => {}
                }
            }
        }
        targets
    }
}
