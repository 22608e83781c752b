package identity

import (
	"bufio"
	"fmt"
	"os"
	"strings"
)

// ReadUsers reads the names in a users file: lines of a user name and a password. Empty lines and lines that start with #
// are skipped.
func ReadUsers(path string) ([]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, &Error{Code: CodeUnreadable, What: "cannot read the users", Path: path, Err: err,
			Try: "a text file with one line \"user password\" for each user"}
	}
	defer func() { _ = f.Close() }()
	var users []string
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, maxUserLine)
	for n := 1; lines.Scan(); n++ {
		fields := strings.Fields(lines.Text())
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		if len(users) == maxUsers {
			return nil, &Error{Code: CodeMalformed, What: "too many users", Path: fmt.Sprintf("%s:%d", path, n)}
		}
		users = append(users, fields[0])
	}
	if err := lines.Err(); err != nil {
		return nil, &Error{Code: CodeMalformed, What: "not a users file", Path: path, Err: err}
	}
	return users, nil
}
