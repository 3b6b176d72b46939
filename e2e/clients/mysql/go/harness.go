// What every Go client does: say its versions, then one line for each feature.
package main

import (
	"crypto/md5"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"
)

const (
	rows     = 100000
	piece    = "0123456789abcdef"
	pieces   = 5 * 256 * 1024
	sleep    = "select sleep(61)"
	sleeping = "select count(*) from information_schema.processlist where info like 'select sleep(61)%' and state like 'User sleep%'"
	within   = 30 * time.Second
)

var features = []string{
	"login", "handle", "refused", "query", "types", "prepared", "multi", "procedure", "stream", "cursor", "largeIn",
	"largeOut", "longData", "transaction", "kill", "reset", "changeUser", "reconnect", "charset", "orm",
}

// Only at a gateway.
var ofGateway = map[string]bool{"handle": true, "refused": true, "changeUser": true}

var (
	large    = strings.Repeat(piece, pieces)
	largeMD5 = fmt.Sprintf("%x", md5.Sum([]byte(large)))
	largeSQL = fmt.Sprintf("select repeat('%s', %d)", piece, pieces)
	seen     []string
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

// What has to be the same in both places.
func see(values ...interface{}) {
	for _, value := range values {
		seen = append(seen, fmt.Sprintf("%q", fmt.Sprintf("%v", value)))
	}
}

func run(versions string, stories map[string]func() error) {
	say(map[string]string{"versions": versions})
	for _, feature := range features {
		if ofGateway[feature] && os.Getenv("DB_HANDLE") == "" {
			continue
		}
		seen = nil
		switch err := bounded(stories[feature]).(type) {
		case nil:
			say(map[string]string{"feature": feature, "outcome": "works", "saw": strings.Join(seen, "\n")})
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

func expect(found, wanted interface{}) error {
	if found != wanted {
		return fmt.Errorf("%.300v instead of %.300v", found, wanted)
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
