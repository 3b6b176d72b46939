import java.io.StringReader;
import java.io.StringWriter;
import java.security.MessageDigest;
import java.sql.Connection;
import java.sql.Driver;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.postgresql.PGConnection;

/** The JDBC driver: says its versions, then one line for each feature. */
final class ViaJdbc {
    private static final int ROWS = 10_000;
    private static final String LARGE = "0123456789abcdef".repeat(2 * 1024 * 1024);
    private static final String LARGE_SQL = "select repeat('0123456789abcdef', 2 * 1024 * 1024)";
    private static final String RUNNING =
        "select count(*) from pg_stat_activity where state = 'active' and query like '%pg_sleep(61)%'"
            + " and pid <> pg_backend_pid()";
    private static final long WITHIN_MS = 30_000;
    private static final long FEATURE_WITHIN_S = 120;

    interface Story {
        void tell() throws Exception;
    }

    interface Told {
        void tell(Connection connection) throws Exception;
    }

    public static void main(String[] arguments) throws Exception {
        Driver driver = DriverManager.getDriver(url());
        String version = Class.forName("org.postgresql.util.DriverInfo").getField("DRIVER_VERSION").get(null).toString();
        System.out.println("{\"versions\": \"PgJDBC " + version + ", Java " + Runtime.version().feature() + "\"}");
        if (driver.getMajorVersion() < 42) {
            throw new IllegalStateException("another driver");
        }
        tell("login", () -> login(System.getenv("PGPASSWORD")));
        if (System.getenv("PGHANDLE") != null) {
            tell("handle", () -> login(System.getenv("PGHANDLE")));
        }
        tell("simple", () -> with("simple", ViaJdbc::simple));
        tell("prepared", () -> with("extended", ViaJdbc::prepared));
        tell("pipeline", () -> with("extended", ViaJdbc::pipeline));
        tell("copyIn", () -> with("extended", ViaJdbc::copyIn));
        tell("copyOut", () -> with("extended", ViaJdbc::copyOut));
        tell("cancel", () -> with("extended", ViaJdbc::cancel));
        tell("largeIn", () -> with("extended", ViaJdbc::largeIn));
        tell("largeOut", () -> with("extended", connection -> same(one(connection, LARGE_SQL), LARGE)));
        tell("reconnect", ViaJdbc::reconnect);
        System.exit(0);
    }

    private static void tell(String feature, Story story) {
        String outcome;
        try {
            CompletableFuture.runAsync(() -> {
                try {
                    story.tell();
                } catch (Exception error) {
                    throw new IllegalStateException(error);
                }
            }).get(FEATURE_WITHIN_S, TimeUnit.SECONDS);
            outcome = "\"works\"";
        } catch (Exception error) {
            error.printStackTrace();
            String reason = error.toString().replaceAll("[\\\\\"\\p{Cntrl}]", " ");
            outcome = "\"fails\", \"reason\": \"" + reason + "\"";
        }
        System.out.println("{\"feature\": \"" + feature + "\", \"outcome\": " + outcome + "}");
    }

    private static String url() {
        return "jdbc:postgresql://" + System.getenv("PGHOST") + ":" + System.getenv("PGPORT") + "/"
            + System.getenv("PGDATABASE");
    }

    private static Connection connect(String password, String mode) throws SQLException {
        Properties properties = new Properties();
        properties.setProperty("user", System.getenv("PGUSER"));
        properties.setProperty("password", password);
        properties.setProperty("sslmode", "verify-full");
        properties.setProperty("sslrootcert", System.getenv("PGSSLROOTCERT"));
        properties.setProperty("preferQueryMode", mode);
        return DriverManager.getConnection(url(), properties);
    }

    private static void with(String mode, Told story) throws Exception {
        try (Connection connection = connect(System.getenv("PGPASSWORD"), mode)) {
            story.tell(connection);
        }
    }

    private static String one(Connection connection, String sql) throws SQLException {
        try (Statement statement = connection.createStatement(); ResultSet rows = statement.executeQuery(sql)) {
            rows.next();
            return rows.getString(1);
        }
    }

    private static void same(String found, String wanted) {
        if (!wanted.equals(found)) {
            String shown = found == null || found.length() > 200 ? "another value" : found;
            throw new IllegalStateException(shown + " instead of " + wanted.substring(0, Math.min(200, wanted.length())));
        }
    }

    private static void failsWith(String state, Story story) throws Exception {
        try {
            story.tell();
        } catch (SQLException error) {
            same(error.getSQLState(), state);
            return;
        }
        throw new IllegalStateException("no error, instead of " + state);
    }

    private static void login(String password) throws Exception {
        try (Connection connection = connect(password, "extended")) {
            same(one(connection, "select session_user"), System.getenv("PGUSER"));
            int pid = connection.unwrap(PGConnection.class).getBackendPID();
            same(one(connection, "select pg_backend_pid()"), Integer.toString(pid));
        }
    }

    private static void simple(Connection connection) throws Exception {
        same(one(connection, "select 6 * 7"), "42");
        failsWith("42P01", () -> one(connection, "select * from no_such_table"));
        same(one(connection, "select 1"), "1");
    }

    private static void prepared(Connection connection) throws Exception {
        try (PreparedStatement statement = connection.prepareStatement("select 2 * ?::int")) {
            statement.unwrap(org.postgresql.PGStatement.class).setPrepareThreshold(1);
            for (int value = 0; value < 10; value++) {
                statement.setInt(1, value);
                try (ResultSet rows = statement.executeQuery()) {
                    rows.next();
                    same(rows.getString(1), Integer.toString(2 * value));
                }
            }
        }
        same(one(connection, "select count(*) from pg_prepared_statements where statement like 'select 2 *%'"), "1");
    }

    /** A batch is sent without reading the answers between. */
    private static void pipeline(Connection connection) throws Exception {
        one(connection, "select set_config('client_min_messages', 'warning', false)");
        try (Statement statement = connection.createStatement()) {
            statement.execute("create temp table piped (id int primary key)");
        }
        try (PreparedStatement statement = connection.prepareStatement("insert into piped values (?)")) {
            for (int n = 0; n < 500; n++) {
                statement.setInt(1, n);
                statement.addBatch();
            }
            same(Integer.toString(statement.executeBatch().length), "500");
            for (int n : new int[] {500, 0, 501}) {
                statement.setInt(1, n);
                statement.addBatch();
            }
            failsWith("23505", statement::executeBatch);
        }
        same(one(connection, "select sum(id) from piped"), Integer.toString(500 * 499 / 2));
    }

    private static void copyIn(Connection connection) throws Exception {
        try (Statement statement = connection.createStatement()) {
            statement.execute("create temp table copied (id int, name text)");
        }
        StringBuilder lines = new StringBuilder();
        for (int n = 0; n < ROWS; n++) {
            lines.append(n).append("\tname ").append(n).append('\n');
        }
        long copied = connection.unwrap(PGConnection.class).getCopyAPI()
            .copyIn("copy copied from stdin", new StringReader(lines.toString()));
        same(Long.toString(copied), Integer.toString(ROWS));
        same(one(connection, "select sum(id) from copied"), Integer.toString(ROWS * (ROWS - 1) / 2));
    }

    private static void copyOut(Connection connection) throws Exception {
        StringWriter found = new StringWriter();
        connection.unwrap(PGConnection.class).getCopyAPI()
            .copyOut("copy (select generate_series(1, " + ROWS + ")) to stdout", found);
        StringBuilder wanted = new StringBuilder();
        for (int n = 1; n <= ROWS; n++) {
            wanted.append(n).append('\n');
        }
        same(found.toString(), wanted.toString());
    }

    private static void cancel(Connection connection) throws Exception {
        with("extended", observer -> {
            try (Statement statement = connection.createStatement()) {
                CompletableFuture<String> ended = CompletableFuture.supplyAsync(() -> {
                    try {
                        statement.execute("select pg_sleep(61)");
                        return "it slept";
                    } catch (SQLException error) {
                        return error.getSQLState();
                    }
                });
                long deadline = System.currentTimeMillis() + WITHIN_MS;
                while (!"1".equals(one(observer, RUNNING))) {
                    if (System.currentTimeMillis() > deadline) {
                        throw new IllegalStateException("waited in vain");
                    }
                    Thread.sleep(20);
                }
                statement.cancel();
                same(ended.get(), "57014");
            }
        });
        same(one(connection, "select 1"), "1");
    }

    private static void largeIn(Connection connection) throws Exception {
        StringBuilder hash = new StringBuilder();
        for (byte piece : MessageDigest.getInstance("MD5").digest(LARGE.getBytes("UTF-8"))) {
            hash.append(String.format("%02x", piece));
        }
        try (PreparedStatement statement = connection.prepareStatement("select md5(?)")) {
            statement.setString(1, LARGE);
            try (ResultSet rows = statement.executeQuery()) {
                rows.next();
                same(rows.getString(1), hash.toString());
            }
        }
    }

    private static void reconnect() throws Exception {
        login(System.getenv("PGPASSWORD"));
        List<Connection> both = new ArrayList<>();
        for (int n = 0; n < 2; n++) {
            both.add(connect(System.getenv("PGPASSWORD"), "extended"));
        }
        for (Connection connection : both) {
            same(one(connection, "select 1"), "1");
            connection.close();
        }
    }
}
