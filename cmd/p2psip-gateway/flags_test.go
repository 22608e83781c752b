package main

import (
	"strings"
	"testing"
)

// ran is what a command line printed, and its exit code.
func ran(t *testing.T, line string) (code int, out, errs string) {
	t.Helper()
	var o, e strings.Builder
	code = dispatch(t.Context(), stdio{strings.NewReader(""), &o, &e}, strings.Fields(line))
	return code, o.String(), e.String()
}

// Help is what was asked for: it is on standard output, and no error.
func TestHelpOfEveryCommand(t *testing.T) {
	var names []string
	for _, c := range commands {
		names = append(names, c.name)
	}
	names = append(names, "config show", "identity issue", "identity self-sign", "enroll serve", "enroll account", "enroll account add",
		"enroll account ls", "enroll account rm", "enroll code", "enroll ls", "enroll ranges", "enroll publish")
	for _, name := range names {
		for _, line := range []string{name + " --help", name + " -h", "help " + name} {
			code, out, errs := ran(t, line)
			if code != exitOK || errs != "" || !strings.HasPrefix(out, "usage: p2psip-gateway "+name) {
				t.Errorf("%s: exit %d\n%s%s", line, code, out, errs)
			}
			if strings.Contains(out, "\n  --") && (strings.Contains(out, " string\n") || strings.Contains(out, " float\n") || strings.Contains(out, " value\n")) {
				t.Errorf("%s shows a flag without a word for its value:\n%s", line, out)
			}
		}
	}
	if code, out, errs := ran(t, "--version"); code != exitOK || errs != "" || !strings.HasPrefix(out, "p2psip-gateway "+version) {
		t.Errorf("--version: %d %s%s", code, out, errs)
	}
}

// Who mistypes is told what is wrong in two lines, not shown a page in which it stands somewhere.
func TestMistypedCommandsAndFlags(t *testing.T) {
	for line, want := range map[string]string{
		"stats":                      `p2psip-gateway: there is no command "stats"; did you mean "status"?`,
		"enroll acount":              `p2psip-gateway enroll: there is no command "acount"; did you mean "account"?`,
		"identity x":                 `p2psip-gateway identity: there is no command "x"; there are issue, self-sign`,
		"run -c x --bootstap a":      `p2psip-gateway run: there is no flag --bootstap; did you mean --bootstrap?`,
		"run":                        `p2psip-gateway run: which configuration?`,
		"check -c x y":               `p2psip-gateway check: unexpected argument "y"`,
		"dev --gateways x":           `p2psip-gateway dev: --gateways "x": want a number`,
		"dev --gateways 0":           `p2psip-gateway dev: --gateways 0: it must be at least 1`,
		"dev --users -1":             `p2psip-gateway dev: --users -1: it must not be negative`,
		"dev --sip-port 65530":       `p2psip-gateway dev: --sip-port 65530: 4 nodes would need the ports up to 65562`,
		"dev --domain":               `p2psip-gateway dev: --domain: a value must follow`,
		"dev --domain a_b..c":        `p2psip-gateway dev: --domain "a_b..c": `,
		"status --json=maybe":        `p2psip-gateway status: --json "maybe": want true or false`,
		"sim --nothing-like-it":      `p2psip-gateway sim: there is no flag --nothing-like-it` + "\n",
		"lookup":                     `usage: p2psip-gateway lookup AOR [flags]`,
		"reg":                        `usage: p2psip-gateway reg ls [flags]`,
		"reg list":                   `usage: p2psip-gateway reg ls [flags]`,
		"route 112":                  `usage: p2psip-gateway route explain NUMBER [flags]`,
		"verify --at noon x":         `p2psip-gateway verify: --at "noon": want a time such as 2026-03-14T15:09:26Z`,
		"explain":                    `p2psip-gateway explain: which code?`,
		"join --wait soon a.example": `p2psip-gateway join: --wait "soon": want a duration, such as 90s`,
	} {
		code, out, errs := ran(t, line)
		if code != exitUsage || out != "" || !strings.HasPrefix(errs, want) {
			t.Errorf("%s: exit %d\n%s%s, want %s", line, code, out, errs, want)
		}
		if lines := strings.Split(strings.TrimSpace(errs), "\n"); len(lines) != 2 || !strings.HasPrefix(lines[1], "      try: p2psip-gateway ") {
			t.Errorf("%s: not a line and what to do:\n%s", line, errs)
		}
	}
}
