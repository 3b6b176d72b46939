import java.io.ByteArrayInputStream;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.sql.CallableStatement;
import java.sql.Connection;
import java.sql.Driver;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.SQLException;
import java.sql.Savepoint;
import java.sql.Statement;
import java.sql.Types;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;

/** MariaDB's driver for Java: says its versions, then one line for each feature. */
final class ViaMariaDb {
    private static final int ROWS = 100_000;
    private static final String LARGE = "0123456789abcdef".repeat(5 * 256 * 1024);
    private static final String LARGE_SQL = "select repeat('0123456789abcdef', 5 * 256 * 1024)";
    private static final String RUNNING =
        "select count(*) from information_schema.processlist where info like 'select sleep(61)%' and state like 'User sleep%'";
    private static final String DOCUMENTATION = "https://mariadb.com/kb/en/about-mariadb-connector-j/";
    private static final long WITHIN_MS = 30_000;
    private static final long FEATURE_WITHIN_S = 120;

    private static final List<String> SEEN = new ArrayList<>();

    interface Story {
        void tell() throws Exception;
    }

    interface Told {
        void tell(Connection connection) throws Exception;
    }

    public static void main(String[] arguments) throws Exception {
        Driver driver = DriverManager.getDriver(url());
        String version = Class.forName("org.mariadb.jdbc.internal.util.constant.Version").getField("version").get(null).toString();
        System.out.println("{\"versions\": \"MariaDB Connector/J " + version + ", Java " + Runtime.version().feature() + "\"}");
        if (driver.getMajorVersion() < 2) {
            throw new IllegalStateException("another driver");
        }
        tell("login", () -> login(System.getenv("DB_PASSWORD")));
        if (System.getenv("DB_HANDLE") != null) {
            tell("handle", () -> login(System.getenv("DB_HANDLE")));
            tell("refused", ViaMariaDb::refused);
            absent("changeUser", "no COM_CHANGE_USER");
        }
        tell("query", () -> with("", ViaMariaDb::query));
        tell("types", () -> with("", connection -> see(all(connection, "select * from every_type order by id"))));
        tell("prepared", () -> with("useServerPrepStmts=true", ViaMariaDb::prepared));
        tell("multi", () -> with("allowMultiQueries=true", ViaMariaDb::multi));
        tell("procedure", () -> with("", ViaMariaDb::procedure));
        tell("stream", () -> with("", ViaMariaDb::stream));
        absent("cursor", "rows are streamed, and no cursors at the server asked for");
        tell("largeIn", () -> with("", connection -> large(connection, false)));
        tell("largeOut", () -> with("", connection -> same(one(connection, LARGE_SQL), LARGE)));
        tell("longData", () -> with("useServerPrepStmts=true", connection -> large(connection, true)));
        tell("transaction", () -> with("", ViaMariaDb::transaction));
        tell("kill", () -> with("", ViaMariaDb::kill));
        tell("reset", () -> with("useResetConnection=true", ViaMariaDb::reset));
        tell("reconnect", ViaMariaDb::reconnect);
        // The driver speaks utf8mb4 alone; the server converts.
        tell("charset", () -> with("sessionVariables=character_set_results=latin1", connection ->
            see(all(connection, "select 'Grüße', hex('Grüße'), @@character_set_client, @@character_set_results"))));
        absent("orm", "no object-relational mapper is run in Java");
        System.exit(0);
    }

    private static void tell(String feature, Story story) {
        String outcome;
        SEEN.clear();
        try {
            CompletableFuture.runAsync(() -> {
                try {
                    story.tell();
                } catch (Exception error) {
                    throw new IllegalStateException(error);
                }
            }).get(FEATURE_WITHIN_S, TimeUnit.SECONDS);
            outcome = "\"works\", \"saw\": \"" + plain(String.join("|", SEEN)) + "\"";
        } catch (Exception error) {
            error.printStackTrace();
            outcome = "\"fails\", \"reason\": \"" + plain(error.toString()) + "\"";
        }
        System.out.println("{\"feature\": \"" + feature + "\", \"outcome\": " + outcome + "}");
    }

    private static void absent(String feature, String reason) {
        System.out.println("{\"feature\": \"" + feature + "\", \"outcome\": \"absent\", \"reason\": \"" + reason
            + "\", \"source\": \"" + DOCUMENTATION + "\"}");
    }

    private static String plain(String text) {
        return text.replaceAll("[\\\\\"\\p{Cntrl}]", " ");
    }

    /** What has to be the same in both places. */
    private static void see(Object... values) {
        for (Object value : values) {
            SEEN.add(String.valueOf(value));
        }
    }

    private static String url() {
        return "jdbc:mariadb://" + System.getenv("DB_HOST") + ":" + System.getenv("DB_PORT") + "/" + System.getenv("DB_NAME");
    }

    private static Connection connect(String password, String more) throws SQLException {
        Properties properties = new Properties();
        properties.setProperty("user", System.getenv("DB_USER"));
        properties.setProperty("password", password);
        properties.setProperty("useSsl", "true");
        properties.setProperty("serverSslCert", System.getenv("DB_CA"));
        properties.setProperty("maxAllowedPacket", Integer.toString(64 << 20));
        return DriverManager.getConnection(url() + "?" + more, properties);
    }

    private static void with(String more, Told story) throws Exception {
        try (Connection connection = connect(System.getenv("DB_PASSWORD"), more)) {
            story.tell(connection);
        }
    }

    private static String one(Connection connection, String sql) throws SQLException {
        try (Statement statement = connection.createStatement(); ResultSet rows = statement.executeQuery(sql)) {
            rows.next();
            return rows.getString(1);
        }
    }

    private static String all(Connection connection, String sql) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            return results(statement, statement.execute(sql));
        }
    }

    /** Every result: columns with their types and rows, or how many rows were affected. */
    private static String results(Statement statement, boolean first) throws SQLException {
        StringBuilder text = new StringBuilder();
        boolean rows = first;
        while (rows || statement.getUpdateCount() != -1) {
            if (rows) {
                try (ResultSet found = statement.getResultSet()) {
                    text.append(shown(found));
                }
            } else {
                text.append("affected ").append(statement.getUpdateCount());
            }
            text.append(" and then ");
            rows = statement.getMoreResults();
        }
        return text.toString();
    }

    private static String shown(ResultSet found) throws SQLException {
        StringBuilder text = new StringBuilder();
        ResultSetMetaData columns = found.getMetaData();
        for (int column = 1; column <= columns.getColumnCount(); column++) {
            text.append(columns.getColumnLabel(column)).append(' ').append(columns.getColumnTypeName(column)).append(' ')
                .append(columns.getPrecision(column)).append(',').append(columns.getScale(column)).append(' ')
                .append(columns.isNullable(column)).append(columns.isAutoIncrement(column)).append("; ");
        }
        while (found.next()) {
            for (int column = 1; column <= columns.getColumnCount(); column++) {
                byte[] bytes = found.getBytes(column);
                text.append(found.getString(column)).append('/').append(bytes == null ? -1 : bytes.length).append('|');
            }
        }
        return text.toString();
    }

    private static void same(String found, String wanted) {
        if (!wanted.equals(found)) {
            String shown = found == null || found.length() > 300 ? "another value" : found;
            throw new IllegalStateException(shown + " instead of " + wanted.substring(0, Math.min(200, wanted.length())));
        }
    }

    private static SQLException failure(Story story) throws Exception {
        try {
            story.tell();
        } catch (SQLException error) {
            return error;
        }
        throw new IllegalStateException("no error");
    }

    private static void failsWith(int number, Story story) throws Exception {
        same(Integer.toString(failure(story).getErrorCode()), Integer.toString(number));
    }

    private static String user() {
        return System.getenv("DB_USER") + "@" + System.getenv("DB_HOST");
    }

    private static void login(String password) throws Exception {
        try (Connection connection = connect(password, "")) {
            same(one(connection, "select current_user()"), user());
            see(all(connection, "select database(), @@version, @@character_set_client, @@collation_connection"));
            see(connection.getMetaData().getDatabaseProductVersion(), connection.getTransactionIsolation());
        }
    }

    private static void refused() throws Exception {
        for (String each : System.getenv("DB_REFUSED").split(" ")) {
            String[] wrong = each.split("=", 2);
            SQLException error = failure(() -> connect(wrong[1], "").close());
            same(Integer.toString(error.getErrorCode()), "1045");
            if (!error.getMessage().contains(wrong[0])) {
                throw new IllegalStateException(error.getMessage() + " instead of " + wrong[0]);
            }
        }
    }

    private static void query(Connection connection) throws Exception {
        String[] statements = {
            "create temporary table t (id int auto_increment primary key, name varchar(40) not null, unique (name))",
            "insert into t (name) values ('one'), ('two'), ('three')",
            "insert ignore into t (name) values ('one'), ('five')", "show warnings",
            "update t set name = 'two' where id < 3 and name = 'two'", "select * from t order by id",
            "select 1 / 0, null, cast('x' as signed)", "show warnings",
        };
        for (String sql : statements) {
            see(all(connection, sql));
        }
        try (Statement statement = connection.createStatement()) {
            statement.executeUpdate("insert into t (name) values ('six'), ('seven')", Statement.RETURN_GENERATED_KEYS);
            see(shown(statement.getGeneratedKeys()), statement.getWarnings());
        }
        String[] wrong = {"select * from no_such_table", "insert into t (name) values ('one')", "selec 1", "kill 0"};
        for (String sql : wrong) {
            SQLException error = failure(() -> all(connection, sql));
            see(error.getErrorCode(), error.getSQLState());
        }
        see(one(connection, "select count(*) from t"));
    }

    private static void prepared(Connection connection) throws Exception {
        String sql = "select * from every_type where id >= ? and id < ? order by id";
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            int[][] ends = {{1, 9}, {2, 3}, {9, 9}};
            for (int[] end : ends) {
                statement.setInt(1, end[0]);
                statement.setInt(2, end[1]);
                try (ResultSet found = statement.executeQuery()) {
                    see(shown(found));
                }
            }
        }
        try (PreparedStatement statement = connection.prepareStatement("select ? + 0, ?, ?, ?, hex(?), ?, ?, ?")) {
            for (int sign : new int[] {-1, 1}) {
                statement.setLong(1, sign * (1L << 62));
                statement.setDouble(2, sign * 2.5);
                statement.setBigDecimal(3, new java.math.BigDecimal("-12345678901234567890.0123456789"));
                statement.setString(4, sign < 0 ? "Grüße 🐘" : "");
                statement.setBytes(5, new byte[] {0, -1});
                statement.setTimestamp(6, java.sql.Timestamp.valueOf("2024-02-29 23:59:59.123456"));
                statement.setDate(7, java.sql.Date.valueOf("9999-12-31"));
                statement.setNull(8, Types.INTEGER);
                try (ResultSet found = statement.executeQuery()) {
                    see(shown(found));
                }
            }
        }
        // A batch, which goes as one bulk where the server takes it.
        all(connection, "create temporary table batched (id int primary key, name varchar(20))");
        try (PreparedStatement statement = connection.prepareStatement("insert into batched values (?, ?)")) {
            for (int n = 0; n < 500; n++) {
                statement.setInt(1, n);
                statement.setString(2, n % 7 == 0 ? null : "name " + n);
                statement.addBatch();
            }
            see(statement.executeBatch().length);
            statement.setInt(1, 7);
            statement.setString(2, "twice");
            statement.addBatch();
            failsWith(1062, statement::executeBatch);
        }
        see(one(connection, "select concat(count(*), ' ', sum(id), ' ', count(name)) from batched"));
    }

    private static void multi(Connection connection) throws Exception {
        see(all(connection, "select 1 as a; create temporary table m (id int); insert into m values (1), (2); select * from m;"
            + " set @x = 7; select @x, 'x' union select 8, 'y'; update m set id = id + 1; select 'last'"));
        failsWith(1146, () -> all(connection, "select 1; select * from no_such_table; select 2"));
        see(one(connection, "select 'still there'"));
    }

    private static void procedure(Connection connection) throws Exception {
        try (CallableStatement call = connection.prepareCall("{call both_ways(?, ?)}")) {
            call.setInt(1, 2);
            call.setInt(2, 40);
            call.registerOutParameter(2, Types.INTEGER);
            see(results(call, call.execute()));
            same(Integer.toString(call.getInt(2)), "42");
        }
        failsWith(1305, () -> all(connection, "call no_such_procedure()"));
    }

    private static void stream(Connection connection) throws Exception {
        long count = 0;
        long total = 0;
        try (Statement statement = connection.createStatement()) {
            statement.setFetchSize(100);
            try (ResultSet found = statement.executeQuery("select seq, repeat('x', 100) from seq_1_to_" + ROWS)) {
                while (found.next()) {
                    count++;
                    total += found.getLong(1);
                }
            }
        }
        same(count + " " + total, ROWS + " " + (long) ROWS * (ROWS + 1) / 2);
        same(one(connection, "select 1"), "1");
    }

    private static void large(Connection connection, boolean streamed) throws Exception {
        StringBuilder hash = new StringBuilder();
        for (byte piece : MessageDigest.getInstance("MD5").digest(LARGE.getBytes(StandardCharsets.UTF_8))) {
            hash.append(String.format("%02x", piece));
        }
        try (PreparedStatement statement = connection.prepareStatement("select md5(?)")) {
            if (streamed) {
                statement.setBinaryStream(1, new ByteArrayInputStream(LARGE.getBytes(StandardCharsets.UTF_8)));
            } else {
                statement.setString(1, LARGE);
            }
            try (ResultSet rows = statement.executeQuery()) {
                rows.next();
                same(rows.getString(1), hash.toString());
            }
        }
    }

    private static void transaction(Connection connection) throws Exception {
        String count = "select count(*) from every_type where id > 100";
        with("", other -> {
            connection.setAutoCommit(false);
            all(connection, "insert into every_type (id) values (101)");
            Savepoint half = connection.setSavepoint("half");
            all(connection, "insert into every_type (id) values (102)");
            connection.rollback(half);
            see(one(other, count));
            connection.commit();
            see(one(other, count));
            all(connection, "delete from every_type where id > 100");
            connection.rollback();
            see(one(other, count));
            all(connection, "delete from every_type where id > 100");
            connection.commit();
            same(one(other, count), "0");
        });
    }

    private static void kill(Connection connection) throws Exception {
        with("", observer -> {
            try (Statement statement = connection.createStatement()) {
                CompletableFuture<Integer> ended = CompletableFuture.supplyAsync(() -> {
                    try {
                        statement.execute("select sleep(61)");
                        return 0;
                    } catch (SQLException error) {
                        return error.getErrorCode();
                    }
                });
                long deadline = System.currentTimeMillis() + WITHIN_MS;
                while (!"1".equals(one(observer, RUNNING))) {
                    if (System.currentTimeMillis() > deadline) {
                        throw new IllegalStateException("waited in vain");
                    }
                    Thread.sleep(20);
                }
                // A second session with the number of the first.
                statement.cancel();
                same(ended.get().toString(), "1317");
            }
            failsWith(1094, () -> all(observer, "kill query 4294967290"));
        });
        same(one(connection, "select 1"), "1");
    }

    private static void reset(Connection connection) throws Exception {
        all(connection, "set @kept = 1, sql_mode = 'ansi'");
        all(connection, "create temporary table gone (id int)");
        ((org.mariadb.jdbc.MariaDbConnection) connection).reset();
        see(all(connection, "select @kept, @@sql_mode, database(), @@character_set_client"));
        failsWith(1146, () -> all(connection, "select * from gone"));
    }

    private static void reconnect() throws Exception {
        login(System.getenv("DB_PASSWORD"));
        with("", first -> with("", second -> {
            same(one(first, "select 1") + one(second, "select 1"), "11");
            all(second, "kill " + one(first, "select connection_id()"));
            same(Boolean.toString(first.isValid(5)), "false");
        }));
        login(System.getenv("DB_PASSWORD"));
    }
}
