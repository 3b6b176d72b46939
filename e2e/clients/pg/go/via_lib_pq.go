// lib/pq, through database/sql.
package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"runtime"

	"github.com/lib/pq"
)

const documentation = "https://pkg.go.dev/github.com/lib/pq"

// One session.
func open(password string) (*sql.DB, error) {
	db, err := sql.Open("postgres", address(password))
	if err == nil {
		db.SetMaxOpenConns(1)
	}
	return db, err
}

// Runs the story with one session.
func with(story func(*sql.DB) error) func() error {
	return func() error {
		db, err := open(token())
		if err != nil {
			return err
		}
		defer db.Close()
		return story(db)
	}
}

func one(db *sql.DB, wanted interface{}, query string, values ...interface{}) error {
	switch wanted := wanted.(type) {
	case int:
		var found int
		if err := db.QueryRow(query, values...).Scan(&found); err != nil {
			return err
		}
		return expect(found, wanted)
	default:
		var found string
		if err := db.QueryRow(query, values...).Scan(&found); err != nil {
			return err
		}
		return expect(found, wanted)
	}
}

func failsWith(state string, err error) error {
	var said *pq.Error
	if !errors.As(err, &said) {
		return fmt.Errorf("%v instead of %s", err, state)
	}
	return expect(string(said.Code), state)
}

func login(password string) error {
	db, err := open(password)
	if err != nil {
		return err
	}
	defer db.Close()
	return one(db, os.Getenv("PGUSER"), "select session_user")
}

func simple(db *sql.DB) error {
	_, failed := db.Exec("select * from no_such_table")
	return all(
		func() error { return one(db, 42, "select 6 * 7") },
		func() error { return failsWith("42P01", failed) },
		func() error { return one(db, 1, "select 1") },
	)
}

func prepared(db *sql.DB) error {
	statement, err := db.Prepare("select 2 * $1::int")
	if err != nil {
		return err
	}
	defer statement.Close()
	for value := 0; value < 10; value++ {
		var found int
		if err := statement.QueryRow(value).Scan(&found); err != nil {
			return err
		}
		if err := expect(found, 2*value); err != nil {
			return err
		}
	}
	return nil
}

func copyIn(db *sql.DB) error {
	tx, err := db.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := tx.Exec("create temp table copied (id int, name text)"); err != nil {
		return err
	}
	statement, err := tx.Prepare(pq.CopyIn("copied", "id", "name"))
	if err != nil {
		return err
	}
	for n := 0; n < rows; n++ {
		if _, err := statement.Exec(n, fmt.Sprint("name ", n)); err != nil {
			return err
		}
	}
	if _, err := statement.Exec(); err != nil {
		return err
	}
	if err := statement.Close(); err != nil {
		return err
	}
	var sum int
	if err := tx.QueryRow("select sum(id) from copied").Scan(&sum); err != nil {
		return err
	}
	return expect(sum, rows*(rows-1)/2)
}

func cancel(db *sql.DB) error {
	observer, err := open(token())
	if err != nil {
		return err
	}
	defer observer.Close()
	surroundings, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		_, err := db.ExecContext(surroundings, "select pg_sleep(61)")
		ended <- err
	}()
	err = poll(func() (bool, error) {
		var count int
		err := observer.QueryRow(running).Scan(&count)
		return count == 1, err
	})
	stop()
	if err != nil {
		return err
	}
	// The driver gives the session up, after the server has said that it stopped.
	return all(
		func() error { return failsWith("57014", <-ended) },
		func() error { return one(observer, 0, running) },
		func() error { return one(db, 1, "select 1") },
	)
}

func reconnect() error {
	if err := login(token()); err != nil {
		return err
	}
	ended := make(chan error, 2)
	for n := 0; n < 2; n++ {
		go func() { ended <- login(token()) }()
	}
	return all(func() error { return <-ended }, func() error { return <-ended })
}

func main() {
	run(fmt.Sprintf("lib/pq %s, %s", os.Getenv("DRIVER_VERSION"), runtime.Version()), map[string]func() error{
		"login":    func() error { return login(token()) },
		"handle":   func() error { return login(os.Getenv("PGHANDLE")) },
		"simple":   with(simple),
		"prepared": with(prepared),
		"pipeline": func() error { return absent{"lib/pq waits for each answer", documentation} },
		"copyIn":   with(copyIn),
		"copyOut":  func() error { return absent{"lib/pq copies in only", documentation} },
		"cancel":   with(cancel),
		"largeIn": with(func(db *sql.DB) error {
			return one(db, largeMD5, "select md5($1)", largeText)
		}),
		"largeOut":  with(func(db *sql.DB) error { return one(db, largeText, largeSQL) }),
		"reconnect": reconnect,
	})
}
