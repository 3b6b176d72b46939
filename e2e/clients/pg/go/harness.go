// What every Go client does: say its versions, then one line for each feature.
package main

import (
	"crypto/md5"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"
)

const (
	rows    = 10000
	large   = 32 << 20
	piece   = "0123456789abcdef"
	running = "select count(*) from pg_stat_activity where state = 'active' and query like '%pg_sleep(61)%' and pid <> pg_backend_pid()"
	within  = 30 * time.Second
)

var features = []string{
	"login", "handle", "simple", "prepared", "pipeline", "copyIn", "copyOut",
	"cancel", "largeIn", "largeOut", "reconnect",
}

var (
	largeText = strings.Repeat(piece, large/len(piece))
	largeMD5  = fmt.Sprintf("%x", md5.Sum([]byte(largeText)))
	largeSQL  = fmt.Sprintf("select repeat('%s', %d)", piece, large/len(piece))
)

// The client has no such feature; its documentation is the source.
type absent struct{ reason, source string }

func (a absent) Error() string { return a.reason }

func say(fields map[string]string) {
	line, err := json.Marshal(fields)
	if err != nil {
		panic(err)
	}
	fmt.Println(string(line))
}

func run(versions string, stories map[string]func() error) {
	say(map[string]string{"versions": versions})
	for _, feature := range features {
		if feature == "handle" && os.Getenv("PGHANDLE") == "" {
			continue
		}
		switch err := bounded(stories[feature]).(type) {
		case nil:
			say(map[string]string{"feature": feature, "outcome": "works"})
		case absent:
			say(map[string]string{"feature": feature, "outcome": "absent", "reason": err.reason, "source": err.source})
		default:
			say(map[string]string{"feature": feature, "outcome": "fails", "reason": err.Error()})
		}
	}
}

func bounded(story func() error) error {
	ended := make(chan error, 1)
	go func() { ended <- story() }()
	select {
	case err := <-ended:
		return err
	case <-time.After(4 * within):
		return fmt.Errorf("it does not end")
	}
}

func address(password string) string {
	return (&url.URL{
		Scheme: "postgres",
		User:   url.UserPassword(os.Getenv("PGUSER"), password),
		Host:   os.Getenv("PGHOST") + ":" + os.Getenv("PGPORT"),
		Path:   os.Getenv("PGDATABASE"),
		RawQuery: url.Values{
			"sslmode": {"verify-full"}, "sslrootcert": {os.Getenv("PGSSLROOTCERT")},
		}.Encode(),
	}).String()
}

func token() string { return os.Getenv("PGPASSWORD") }

func expect(found, wanted interface{}) error {
	if found != wanted {
		return fmt.Errorf("%.200v instead of %.200v", found, wanted)
	}
	return nil
}

// Asks until the answer is true.
func poll(question func() (bool, error)) error {
	deadline := time.Now().Add(within)
	for time.Now().Before(deadline) {
		if yes, err := question(); yes || err != nil {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
	return fmt.Errorf("waited in vain")
}

// The first error.
func all(steps ...func() error) error {
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}
