//! The gateway's administration of a database server, against real ones: enrolment and database users. What holds for every
//! engine is one story, told on each. MySQL's own server is not in the distribution: `cargo xtask conformance
//! --newest-mysql` brings it and tells them there, too.

/// One test for each engine of every story.
#[cfg(test)]
macro_rules! on_each_engine {
    ($($story:ident),+ $(,)?) => {$(
        mod $story {
            #[tokio::test(flavor = "multi_thread")]
            async fn postgresql() {
                Box::pin(super::$story(model::kind::server::Product::PostgreSql)).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn mariadb() {
                Box::pin(super::$story(model::kind::server::Product::MariaDb)).await;
            }

            #[cfg(feature = "newest-mysql")]
            #[tokio::test(flavor = "multi_thread")]
            async fn mysql() {
                Box::pin(super::$story(model::kind::server::Product::MySql)).await;
            }
        }
    )+};
}

#[cfg(test)]
mod bench;
#[cfg(test)]
mod database;
#[cfg(test)]
mod drift;
#[cfg(test)]
mod endings;
#[cfg(test)]
mod enrolment;
#[cfg(test)]
mod enrolment_mariadb;
#[cfg(test)]
mod enrolment_trust;
#[cfg(test)]
mod on_mariadb;
#[cfg(all(test, feature = "newest-mysql"))]
mod on_mysql;
#[cfg(test)]
mod on_postgresql;
#[cfg(test)]
mod session;
#[cfg(test)]
mod users;
