/* Everything that Connector/C can ask of a server, once and more: what the general log and the audit log are compared
 * over. The password comes in MYSQL_PWD.
 *
 *     workload HOST PORT USER DATABASE CA
 */
#include <mysql.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static MYSQL *server;

static void ended(const char *what) {
    fprintf(stderr, "%s: %u %s\n", what, mysql_errno(server), mysql_error(server));
    exit(1);
}

/* Takes whatever is answered, and an error if one is expected. */
static void query(const char *text, size_t length, unsigned int expected) {
    unsigned int seen = mysql_real_query(server, text, length) ? mysql_errno(server) : 0;
    int more = seen ? -1 : 0;
    while (more == 0) {
        MYSQL_RES *rows = mysql_store_result(server);
        if (rows) mysql_free_result(rows);
        more = mysql_next_result(server);
        if (more > 0) seen = mysql_errno(server);
    }
    if (seen != expected) ended(text);
}

static void ask(const char *text) { query(text, strlen(text), 0); }

static MYSQL_STMT *prepared(const char *text) {
    MYSQL_STMT *statement = mysql_stmt_init(server);
    if (mysql_stmt_prepare(statement, text, strlen(text))) ended(mysql_stmt_error(statement));
    return statement;
}

static void fetched(MYSQL_STMT *statement) {
    do {
        while (mysql_stmt_fetch(statement) == 0) {}
        mysql_stmt_free_result(statement);
    } while (mysql_stmt_next_result(statement) == 0);
}

static void executed(MYSQL_STMT *statement) {
    if (mysql_stmt_execute(statement)) ended(mysql_stmt_error(statement));
    fetched(statement);
}

static void values(void) {
    MYSQL_STMT *statement = prepared("insert into work (id, name, price, day, data) values (?, ?, ?, ?, ?)");
    long long id;
    char name[200];
    unsigned long length;
    double price;
    MYSQL_TIME day = {.year = 2026, .month = 2, .day = 28, .hour = 23, .minute = 59, .second = 58,
                      .time_type = MYSQL_TIMESTAMP_DATETIME};
    my_bool null = 0;
    MYSQL_BIND bind[5];
    memset(bind, 0, sizeof bind);
    bind[0] = (MYSQL_BIND){.buffer_type = MYSQL_TYPE_LONGLONG, .buffer = &id};
    bind[1] = (MYSQL_BIND){.buffer_type = MYSQL_TYPE_STRING, .buffer = name, .length = &length, .is_null = &null};
    bind[2] = (MYSQL_BIND){.buffer_type = MYSQL_TYPE_DOUBLE, .buffer = &price};
    bind[3] = (MYSQL_BIND){.buffer_type = MYSQL_TYPE_DATETIME, .buffer = &day};
    bind[4] = (MYSQL_BIND){.buffer_type = MYSQL_TYPE_LONG_BLOB};
    mysql_stmt_bind_param(statement, bind);
    static const char *names[] = {"plain", "it's", "two\nlines", "back\\slash \"quoted\"", "äöü ?", "'), (1, 'x"};
    for (id = 1; id <= 6; id++) {
        strcpy(name, names[id - 1]);
        length = strlen(name);
        price = 1.25 * (double)id;
        null = id == 3;
        mysql_stmt_send_long_data(statement, 4, "begin\0", 6);
        mysql_stmt_send_long_data(statement, 4, " and end", 8);
        executed(statement);
    }
    mysql_stmt_reset(statement);
    /* A key that is there already: the server logs executes that succeed. */
    id = 1;
    mysql_stmt_send_long_data(statement, 4, "x", 1);
    if (!mysql_stmt_execute(statement)) ended("a key twice");
    mysql_stmt_close(statement);
}

static void cursors(void) {
    MYSQL_STMT *statement = mysql_stmt_init(server);
    unsigned long cursor = CURSOR_TYPE_READ_ONLY, rows = 2;
    mysql_stmt_attr_set(statement, STMT_ATTR_CURSOR_TYPE, &cursor);
    mysql_stmt_attr_set(statement, STMT_ATTR_PREFETCH_ROWS, &rows);
    const char *text = "select id, name from work where id > ? order by id";
    if (mysql_stmt_prepare(statement, text, strlen(text))) ended(mysql_stmt_error(statement));
    long long least = 0;
    MYSQL_BIND bind = {.buffer_type = MYSQL_TYPE_LONGLONG, .buffer = &least};
    mysql_stmt_bind_param(statement, &bind);
    executed(statement);
    least = 3;
    executed(statement);
    mysql_stmt_close(statement);
}

static void many(void) {
    MYSQL_STMT *statement = prepared("insert into work (id, name) values (?, ?)");
    unsigned int rows = 3;
    long long ids[] = {101, 102, 103};
    const char *names[] = {"one", "two", "three"};
    unsigned long lengths[] = {3, 3, 5};
    MYSQL_BIND bind[2];
    memset(bind, 0, sizeof bind);
    bind[0] = (MYSQL_BIND){.buffer_type = MYSQL_TYPE_LONGLONG, .buffer = ids};
    bind[1] = (MYSQL_BIND){.buffer_type = MYSQL_TYPE_STRING, .buffer = names, .length = lengths};
    mysql_stmt_attr_set(statement, STMT_ATTR_ARRAY_SIZE, &rows);
    mysql_stmt_bind_param(statement, bind);
    executed(statement);
    mysql_stmt_close(statement);
}

static void texts(void) {
    ask("select 1");
    ask("  select 2 ;; \n");
    ask("select 3; select 4; select 5");
    query("selec 6", 7, 1064);
    query("select nothing from nowhere", 27, 1146);
    query("select 1; select nothing; select 2", 34, 1054);
    query("", 0, 1065);
    ask("-- nothing");
    ask("select 'what looks like\n\t\t     7 Query\tselect ''a line of the log''\n260101 12:00:00\t     7 Quit\t\n'");
    ask("select 'äöü', \"say \\\"x\\\"\" /*! , 7 */ # end\n");
    ask("set names latin1");
    ask("select '\xe4\xf6\xfc'");
    ask("set names utf8mb4");
    ask("prepare s from 'select ? + 1'");
    ask("set @a = 5");
    ask("execute s using @a");
    ask("execute immediate 'select 8'");
    ask("deallocate prepare s");
    ask("begin");
    ask("update work set price = price + 1 where id < 3");
    ask("rollback");
    static char lengthy[200 * 1024];
    strcpy(lengthy, "select length('");
    memset(lengthy + 15, 'x', 150 * 1024);
    strcpy(lengthy + 15 + 150 * 1024, "') ; \n");
    ask(lengthy);
}

static void commands(void) {
    if (mysql_ping(server)) ended("ping");
    if (!mysql_stat(server)) ended("statistics");
    if (mysql_select_db(server, "orders")) ended("init db");
    if (!mysql_select_db(server, "no such database")) ended("a database that is not there");
    MYSQL_RES *fields = mysql_list_fields(server, "work", "na%");
    if (!fields) ended("field list");
    mysql_free_result(fields);
    MYSQL_RES *processes = mysql_list_processes(server);
    if (!processes) ended("processlist");
    mysql_free_result(processes);
    if (mysql_set_server_option(server, MYSQL_OPTION_MULTI_STATEMENTS_OFF)) ended("set option");
    query("select 1; select 2", 18, 1064);
    if (mysql_set_server_option(server, MYSQL_OPTION_MULTI_STATEMENTS_ON)) ended("set option");
    /* Not forwarded. */
    if (!mysql_refresh(server, REFRESH_TABLES)) ended("a refresh");
    MYSQL_STMT *failed = mysql_stmt_init(server);
    if (!mysql_stmt_prepare(failed, "selec", 5)) ended("what cannot be prepared");
    mysql_stmt_close(failed);
    if (mysql_reset_connection(server)) ended("reset connection");
    ask("use orders");
}

int main(int argc, char **argv) {
    if (argc != 6) return 2;
    server = mysql_init(NULL);
    my_bool verify = 1;
    mysql_options(server, MYSQL_OPT_SSL_CA, argv[5]);
    mysql_options(server, MYSQL_OPT_SSL_VERIFY_SERVER_CERT, &verify);
    mysql_options(server, MYSQL_SET_CHARSET_NAME, "utf8mb4");
    unsigned long flags = CLIENT_MULTI_STATEMENTS | CLIENT_MULTI_RESULTS;
    const char *password = getenv("MYSQL_PWD");
    if (!mysql_real_connect(server, argv[1], argv[3], password, argv[4], (unsigned)atoi(argv[2]), NULL, flags))
        ended("connect");
    ask("create or replace table work (id bigint primary key, name varchar(200), price double, day datetime, data blob)");
    values();
    cursors();
    many();
    texts();
    commands();
    ask("drop table work");
    mysql_close(server);
    return 0;
}
