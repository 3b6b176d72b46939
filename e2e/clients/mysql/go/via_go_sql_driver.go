// go-sql-driver, through database/sql. A token is sent in clear inside TLS, which the driver does only when it is told to.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"errors"
	"fmt"
	"io/ioutil"
	"os"
	"runtime"
	"strings"

	"github.com/go-sql-driver/mysql"
)

const documentation = "https://pkg.go.dev/github.com/go-sql-driver/mysql"

func address(password string, more map[string]string) string {
	config := mysql.NewConfig()
	config.User, config.Passwd = os.Getenv("DB_USER"), password
	config.Net, config.Addr = "tcp", os.Getenv("DB_HOST")+":"+os.Getenv("DB_PORT")
	config.DBName, config.TLSConfig = os.Getenv("DB_NAME"), "portcullis"
	config.AllowCleartextPasswords, config.MaxAllowedPacket = true, 64<<20
	config.Params = more
	return config.FormatDSN()
}

// One session.
func open(password string, more map[string]string) (*sql.DB, error) {
	db, err := sql.Open("mysql", address(password, more))
	if err == nil {
		db.SetMaxOpenConns(1)
	}
	return db, err
}

func token() string { return os.Getenv("DB_PASSWORD") }

// Runs the story with one session.
func withMore(more map[string]string, story func(*sql.DB) error) func() error {
	return func() error {
		db, err := open(token(), more)
		if err != nil {
			return err
		}
		defer db.Close()
		return story(db)
	}
}

func with(story func(*sql.DB) error) func() error { return withMore(nil, story) }

type queries interface {
	Query(string, ...interface{}) (*sql.Rows, error)
}

// Every result of a query: columns with their types, and rows.
func results(db queries, query string, values ...interface{}) (string, error) {
	found, err := db.Query(query, values...)
	if err != nil {
		return "", err
	}
	defer found.Close()
	return shown(found)
}

func shown(found *sql.Rows) (string, error) {
	var text strings.Builder
	for {
		types, err := found.ColumnTypes()
		if err != nil {
			return "", err
		}
		for _, column := range types {
			precision, scale, _ := column.DecimalSize()
			nullable, _ := column.Nullable()
			fmt.Fprintf(&text, "%s %s %d,%d %v; ", column.Name(), column.DatabaseTypeName(), precision, scale, nullable)
		}
		cells := make([]sql.RawBytes, len(types))
		places := make([]interface{}, len(types))
		for index := range cells {
			places[index] = &cells[index]
		}
		for found.Next() {
			if err := found.Scan(places...); err != nil {
				return "", err
			}
			for _, cell := range cells {
				if cell == nil {
					text.WriteString("NULL|")
				} else {
					fmt.Fprintf(&text, "%x|", []byte(cell))
				}
			}
		}
		if err := found.Err(); err != nil {
			return text.String(), err
		}
		if !found.NextResultSet() {
			return text.String(), found.Err()
		}
		text.WriteString(" and then ")
	}
}

func one(db *sql.DB, wanted, query string, values ...interface{}) error {
	var found string
	if err := db.QueryRow(query, values...).Scan(&found); err != nil {
		return err
	}
	return expect(found, wanted)
}

func number(err error) uint16 {
	var said *mysql.MySQLError
	if errors.As(err, &said) {
		return said.Number
	}
	return 0
}

func login(password string) error {
	db, err := open(password, nil)
	if err != nil {
		return err
	}
	defer db.Close()
	text, err := results(db, "select database(), @@version, @@character_set_client, @@collation_connection")
	see(text)
	return all(
		func() error { return err },
		func() error { return one(db, os.Getenv("DB_USER")+"@"+os.Getenv("DB_HOST"), "select current_user()") },
	)
}

func refused() error {
	for _, wrong := range strings.Split(os.Getenv("DB_REFUSED"), " ") {
		code, password, _ := strings.Cut(wrong, "=")
		db, err := open(password, nil)
		if err != nil {
			return err
		}
		err = db.Ping()
		db.Close()
		if number(err) != 1045 || !strings.Contains(err.Error(), code) {
			return fmt.Errorf("%v instead of %s", err, code)
		}
	}
	return nil
}

func query(db *sql.DB) error {
	for _, statement := range []string{
		"create temporary table t (id int auto_increment primary key, name varchar(40) not null, unique (name))",
		"insert into t (name) values ('one'), ('two'), ('three')",
		"insert ignore into t (name) values ('one'), ('five')",
		"update t set name = 'two' where id < 3 and name = 'two'",
		"select * from no_such_table", "insert into t (name) values ('one')", "selec 1", "kill 0",
	} {
		result, err := db.Exec(statement)
		if err != nil {
			see(number(err))
			continue
		}
		affected, _ := result.RowsAffected()
		id, _ := result.LastInsertId()
		see(affected, id)
	}
	for _, statement := range []string{"select * from t order by id", "select 1 / 0, null, cast('x' as signed)", "show warnings"} {
		text, err := results(db, statement)
		if err != nil {
			return err
		}
		see(text)
	}
	return nil
}

// Placeholders make a statement that is prepared at the server; without values the text protocol is used.
func types(db *sql.DB) error {
	text, err := results(db, "select * from every_type order by id")
	see(text)
	return err
}

func prepared(db *sql.DB) error {
	statement, err := db.Prepare("select * from every_type where id >= ? and id < ? order by id")
	if err != nil {
		return err
	}
	defer statement.Close()
	for _, ends := range [][2]int{{1, 9}, {2, 3}, {9, 9}} {
		found, err := statement.Query(ends[0], ends[1])
		if err != nil {
			return err
		}
		text, err := shown(found)
		found.Close()
		if err != nil {
			return err
		}
		see(text)
	}
	for _, values := range [][]interface{}{
		{-7, int64(1) << 62, 2.5, "Grüße 🐘", []byte{0, 255}, nil}, {true, 0, 0.0, "", []byte{}, "x"},
	} {
		text, err := results(db, "select ? + 0, ?, ?, ?, hex(?), ?", values...)
		if err != nil {
			return err
		}
		see(text)
	}
	_, err = db.Prepare("select * from no_such_table where id = ?")
	return expect(number(err), uint16(1146))
}

func multi(db *sql.DB) error {
	text, err := results(db, "select 1 as a; select 2, 'x' union select 3, 'y'; select 'last'")
	see(text)
	if err != nil {
		return err
	}
	_, err = db.Exec("create temporary table m (id int); insert into m values (1), (2); update m set id = id + 1")
	if err != nil {
		return err
	}
	// Not behind a result: this driver then waits for results that nobody announced.
	text, err = results(db, "select * from no_such_table; select 2")
	see(text, number(err))
	text, err = results(db, "select * from m; select 2")
	see(text, number(err))
	return one(db, "still there", "select 'still there'")
}

func procedure(db *sql.DB) error {
	if _, err := db.Exec("set @counted = 40"); err != nil {
		return err
	}
	text, err := results(db, "call both_ways(2, @counted)")
	see(text)
	_, none := db.Exec("call no_such_procedure()")
	see(number(none))
	return all(func() error { return err }, func() error { return one(db, "42", "select @counted") })
}

func stream(db *sql.DB) error {
	found, err := db.Query(fmt.Sprintf("select seq, repeat('x', 100) from seq_1_to_%d", rows))
	if err != nil {
		return err
	}
	defer found.Close()
	var count, total int
	for found.Next() {
		var id int
		var text sql.RawBytes
		if err := found.Scan(&id, &text); err != nil {
			return err
		}
		count, total = count+1, total+id
	}
	return all(found.Err, func() error { return expect(count, rows) }, func() error { return expect(total, rows*(rows+1)/2) })
}

func transaction(db *sql.DB) error {
	other, err := open(token(), nil)
	if err != nil {
		return err
	}
	defer other.Close()
	count := func(wanted string) func() error {
		return func() error { return one(other, wanted, "select count(*) from every_type where id > 100") }
	}
	do := func(tx *sql.Tx, statements ...string) func() error {
		return func() error {
			for _, statement := range statements {
				if _, err := tx.Exec(statement); err != nil {
					return err
				}
			}
			return nil
		}
	}
	first, err := db.Begin()
	if err != nil {
		return err
	}
	err = all(
		do(first, "insert into every_type (id) values (101)", "savepoint half",
			"insert into every_type (id) values (102)", "rollback to savepoint half"),
		count("0"), first.Commit, count("1"),
	)
	if err != nil {
		return err
	}
	second, err := db.Begin()
	if err != nil {
		return err
	}
	return all(do(second, "delete from every_type where id > 100"), second.Rollback, count("1"), func() error {
		_, err := other.Exec("delete from every_type where id > 100")
		return err
	}, count("0"))
}

// The driver gives a session up that is cancelled, and kills nothing: the number of the server's connection is asked for.
func kill(db *sql.DB) error {
	observer, err := open(token(), nil)
	if err != nil {
		return err
	}
	defer observer.Close()
	var id int
	if err := db.QueryRow("select connection_id()").Scan(&id); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() {
		_, err := db.ExecContext(context.Background(), sleep)
		ended <- err
	}()
	err = poll(func() (bool, error) {
		var count int
		err := observer.QueryRow(sleeping).Scan(&count)
		return count == 1, err
	})
	if err != nil {
		return err
	}
	if _, err := observer.Exec(fmt.Sprintf("kill query %d", id)); err != nil {
		return err
	}
	_, none := observer.Exec("kill query 4294967290")
	return all(
		func() error { return expect(number(<-ended), uint16(1317)) },
		func() error { return one(db, "1", "select 1") },
		func() error { return expect(number(none), uint16(1094)) },
	)
}

// The pool notices that its session has died, and opens another.
func reconnect(db *sql.DB) error {
	ended := make(chan error, 2)
	for n := 0; n < 2; n++ {
		go func() { ended <- login(token()) }()
	}
	return all(
		func() error { return <-ended }, func() error { return <-ended },
		func() error {
			var id string
			if err := db.QueryRow("select connection_id()").Scan(&id); err != nil {
				return err
			}
			_, err := db.Exec("kill " + id)
			return expect(err != nil, true)
		},
		// Another one in its place, as soon as the pool has seen that it is gone.
		func() error { return poll(func() (bool, error) { return one(db, "1", "select 1") == nil, nil }) },
	)
}

func charset(db *sql.DB) error {
	text, err := results(db, "select 'Grüße', hex('Grüße'), @@character_set_results, a_varchar from every_type where id = 1")
	see(text)
	return err
}

func trust() error {
	authority, err := ioutil.ReadFile(os.Getenv("DB_CA"))
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(authority) {
		return fmt.Errorf("no authority")
	}
	return mysql.RegisterTLSConfig("portcullis", &tls.Config{RootCAs: roots, ServerName: os.Getenv("DB_HOST")})
}

func main() {
	if err := trust(); err != nil {
		panic(err)
	}
	none := func(reason string) func() error { return func() error { return absent{reason, documentation} } }
	run(fmt.Sprintf("go-sql-driver %s, %s", os.Getenv("DRIVER_VERSION"), runtime.Version()), map[string]func() error{
		"login":     func() error { return login(token()) },
		"handle":    func() error { return login(os.Getenv("DB_HANDLE")) },
		"refused":   refused,
		"query":     with(query),
		"types":     with(types),
		"prepared":  with(prepared),
		"multi":     withMore(map[string]string{"multiStatements": "true"}, multi),
		"procedure": with(procedure),
		"stream":    with(stream),
		"cursor":    none("no cursors at the server"),
		"largeIn":   with(func(db *sql.DB) error { return one(db, largeMD5, "select md5(?)", large) }),
		"largeOut":  with(func(db *sql.DB) error { return one(db, large, largeSQL) }),
		"longData": with(func(db *sql.DB) error {
			return one(db, largeMD5, "select md5(concat(?, ?))", large[:3], []byte(large[3:]))
		}),
		"transaction": with(transaction),
		"kill":        with(kill),
		"reset":       none("no COM_RESET_CONNECTION"),
		"changeUser":  none("no COM_CHANGE_USER"),
		"reconnect":   with(reconnect),
		"charset": func() error {
			return all(
				withMore(map[string]string{"charset": "utf8mb4"}, charset),
				withMore(map[string]string{"charset": "latin1"}, charset),
			)
		},
		"orm": none("no object-relational mapper is run in Go"),
	})
}
