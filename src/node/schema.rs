//! The schemas of the two SQLite files, as migrations.
//!
//! They are listed by hand. `sqlx::migrate!` would list a folder by itself, but that macro links SQLite, so every build
//! from nothing would compile SQLite twice.

use std::sync::LazyLock;

use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};

/// `ledger.db`.
pub(crate) static LEDGER: LazyLock<Migrator> = LazyLock::new(|| {
    migrator(&[
        (1, "ledger", include_str!("../../migrations/ledger/0001_ledger.sql")),
        (2, "committed", include_str!("../../migrations/ledger/0002_committed.sql")),
    ])
});

/// `views.db`.
pub(crate) static VIEWS: LazyLock<Migrator> =
    LazyLock::new(|| migrator(&[(1, "views", include_str!("../../migrations/views/0001_views.sql"))]));

/// The migrations in their order: version and description as in the file's name, and the SQL.
fn migrator(migrations: &[(i64, &'static str, &'static str)]) -> Migrator {
    let one = |&(version, description, sql): &(i64, &'static str, &'static str)| {
        Migration::new(version, description.into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    Migrator::with_migrations(migrations.iter().map(one).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    fn files(folder: &str) -> BTreeSet<String> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../migrations").join(folder);
        let names = std::fs::read_dir(folder).expect("the folder is there");
        names.map(|file| file.expect("listed").file_name().to_string_lossy().into_owned()).collect()
    }

    fn listed(migrator: &Migrator) -> BTreeSet<String> {
        migrator.iter().map(|one| format!("{:04}_{}.sql", one.version, one.description)).collect()
    }

    #[test]
    fn every_file_of_the_migrations_is_listed() {
        assert_eq!(listed(&LEDGER), files("ledger"));
        assert_eq!(listed(&VIEWS), files("views"));
    }
}
