// Package tap writes the Test Anything Protocol (version 13), https://testanything.org/tap-version-13-specification.html.
// It stands for github.com/mndrix/tap-go, which runtime-tools imports and Debian has not: the calls that it makes, no more.
package tap

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
)

// T is the output of one program.
type T struct {
	// Writer gets the lines; standard output unless it is set.
	Writer io.Writer
	count  int
	isTodo bool
}

// New returns an output without a line yet.
func New() *T { return &T{Writer: os.Stdout} }

// Header begins the output; a plan of 0 tests is left to AutoPlan.
func (t *T) Header(tests int) {
	fmt.Fprintln(t.Writer, "TAP version 13")
	if tests > 0 {
		fmt.Fprintf(t.Writer, "1..%d\n", tests)
	}
}

// AutoPlan writes the plan behind the tests.
func (t *T) AutoPlan() { fmt.Fprintf(t.Writer, "1..%d\n", t.count) }

// Ok reports a test.
func (t *T) Ok(isOk bool, description string) {
	word := "not ok"
	if isOk {
		word = "ok"
	}
	t.count++
	if t.isTodo {
		description += " # TODO"
	}
	t.isTodo = false
	fmt.Fprintf(t.Writer, "%s %d - %s\n", word, t.count, description)
}

// Todo marks the next test as one that need not pass yet.
func (t *T) Todo() *T {
	t.isTodo = true
	return t
}

// Pass reports a test that passed.
func (t *T) Pass(description string) { t.Ok(true, description) }

// Fail reports a test that failed.
func (t *T) Fail(description string) { t.Ok(false, description) }

// Skip reports tests that were not made.
func (t *T) Skip(tests int, reason string) {
	for ; tests > 0; tests-- {
		t.count++
		fmt.Fprintf(t.Writer, "ok %d # SKIP %s\n", t.count, reason)
	}
}

// Diagnostic writes a remark, a "#" before each line.
func (t *T) Diagnostic(text string) {
	for _, line := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
		fmt.Fprintf(t.Writer, "# %s\n", line)
	}
}

// Diagnosticf is Diagnostic with a format.
func (t *T) Diagnosticf(format string, values ...interface{}) {
	t.Diagnostic(fmt.Sprintf(format, values...))
}

// YAML writes data below the test before it; JSON is YAML.
func (t *T) YAML(data interface{}) error {
	text, err := json.MarshalIndent(data, "  ", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(t.Writer, "  ---\n  %s\n  ...\n", text)
	return err
}
