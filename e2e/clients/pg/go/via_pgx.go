// pgx, by its own interface.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"

	"github.com/jackc/pgconn"
	"github.com/jackc/pgx/v4"
)

var always = context.Background()

// Runs the story with one session.
func with(story func(*pgx.Conn) error) func() error {
	return func() error { return as(token(), story) }
}

func as(password string, story func(*pgx.Conn) error) error {
	conn, err := pgx.Connect(always, address(password))
	if err != nil {
		return err
	}
	defer conn.Close(always)
	return story(conn)
}

func one(conn *pgx.Conn, wanted interface{}, query string, values ...interface{}) error {
	var found interface{}
	if err := conn.QueryRow(always, query, values...).Scan(&found); err != nil {
		return err
	}
	if number, ok := wanted.(int); ok {
		return expect(fmt.Sprint(found), fmt.Sprint(number))
	}
	return expect(found, wanted)
}

func failsWith(state string, err error) error {
	var said *pgconn.PgError
	if !errors.As(err, &said) {
		return fmt.Errorf("%v instead of %s", err, state)
	}
	return expect(said.Code, state)
}

func login(conn *pgx.Conn) error {
	return all(
		func() error { return one(conn, os.Getenv("PGUSER"), "select session_user::text") },
		func() error { return one(conn, int(conn.PgConn().PID()), "select pg_backend_pid()") },
	)
}

func simple(conn *pgx.Conn) error {
	_, err := conn.PgConn().Exec(always, "select * from no_such_table").ReadAll()
	results, ok := conn.PgConn().Exec(always, "select 6 * 7; select 1").ReadAll()
	if ok != nil {
		return ok
	}
	return all(
		func() error { return failsWith("42P01", err) },
		func() error { return expect(string(results[0].Rows[0][0]), "42") },
		func() error { return expect(string(results[1].Rows[0][0]), "1") },
	)
}

func prepared(conn *pgx.Conn) error {
	if _, err := conn.Prepare(always, "twice", "select 2 * $1::int"); err != nil {
		return err
	}
	for value := 0; value < 10; value++ {
		if err := one(conn, 2*value, "twice", value); err != nil {
			return err
		}
	}
	return nil
}

func pipeline(conn *pgx.Conn) error {
	batch := &pgx.Batch{}
	for n := 0; n < 500; n++ {
		batch.Queue("select $1::int", n)
	}
	results := conn.SendBatch(always, batch)
	for n := 0; n < 500; n++ {
		var found int
		if err := results.QueryRow().Scan(&found); err != nil {
			return err
		}
		if err := expect(found, n); err != nil {
			return err
		}
	}
	if err := results.Close(); err != nil {
		return err
	}
	broken := &pgx.Batch{}
	broken.Queue("select 1")
	broken.Queue("select 1 / 0")
	broken.Queue("select 2")
	return all(
		func() error { return failsWith("22012", conn.SendBatch(always, broken).Close()) },
		func() error { return one(conn, 1, "select 1") },
	)
}

func copyIn(conn *pgx.Conn) error {
	if _, err := conn.Exec(always, "create temp table copied (id int, name text)"); err != nil {
		return err
	}
	source := pgx.CopyFromSlice(rows, func(n int) ([]interface{}, error) {
		return []interface{}{n, fmt.Sprint("name ", n)}, nil
	})
	copied, err := conn.CopyFrom(always, pgx.Identifier{"copied"}, []string{"id", "name"}, source)
	if err != nil {
		return err
	}
	return all(
		func() error { return expect(copied, int64(rows)) },
		func() error { return one(conn, rows*(rows-1)/2, "select sum(id) from copied") },
	)
}

func copyOut(conn *pgx.Conn) error {
	var found, wanted bytes.Buffer
	for n := 1; n <= rows; n++ {
		fmt.Fprintln(&wanted, n)
	}
	query := fmt.Sprintf("copy (select generate_series(1, %d)) to stdout", rows)
	if _, err := conn.PgConn().CopyTo(always, &found, query); err != nil {
		return err
	}
	return expect(found.String(), wanted.String())
}

func cancel(conn *pgx.Conn) error {
	return as(token(), func(observer *pgx.Conn) error {
		ended := make(chan error, 1)
		go func() {
			_, err := conn.Exec(always, "select pg_sleep(61)")
			ended <- err
		}()
		err := poll(func() (bool, error) {
			var count int
			err := observer.QueryRow(always, running).Scan(&count)
			return count == 1, err
		})
		if err != nil {
			return err
		}
		return all(
			func() error { return conn.PgConn().CancelRequest(always) },
			func() error { return failsWith("57014", <-ended) },
			func() error { return one(conn, 1, "select 1") },
		)
	})
}

func reconnect() error {
	if err := with(login)(); err != nil {
		return err
	}
	ended := make(chan error, 2)
	for n := 0; n < 2; n++ {
		go func() { ended <- with(login)() }()
	}
	return all(func() error { return <-ended }, func() error { return <-ended })
}

func main() {
	run(fmt.Sprintf("pgx %s, %s", os.Getenv("DRIVER_VERSION"), runtime.Version()), map[string]func() error{
		"login":    with(login),
		"handle":   func() error { return as(os.Getenv("PGHANDLE"), login) },
		"simple":   with(simple),
		"prepared": with(prepared),
		"pipeline": with(pipeline),
		"copyIn":   with(copyIn),
		"copyOut":  with(copyOut),
		"cancel":   with(cancel),
		"largeIn": with(func(conn *pgx.Conn) error {
			return one(conn, largeMD5, "select md5($1)", largeText)
		}),
		"largeOut":  with(func(conn *pgx.Conn) error { return one(conn, largeText, largeSQL) }),
		"reconnect": reconnect,
	})
}
