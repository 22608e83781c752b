package config

import "fmt"

// ElementError says which element of a document is wrong and why.
type ElementError struct {
	Line    int
	Element string // or element/@attribute
	Value   string // as found, shortened
	Problem string
}

func (e *ElementError) Error() string {
	if e.Value == "" {
		return fmt.Sprintf("config: line %d: %s: %s", e.Line, e.Element, e.Problem)
	}
	return fmt.Sprintf("config: line %d: %s: %q %s", e.Line, e.Element, e.Value, e.Problem)
}

// refuse makes the error about an element.
func (e *element) refuse(value, format string, args ...any) error {
	return e.refuseAs(e.name.Local, value, format, args...)
}

func (e *element) refuseAs(name, value, format string, args ...any) error {
	if len(value) > 60 {
		value = value[:57] + "..."
	}
	return &ElementError{Line: e.line, Element: name, Value: value, Problem: fmt.Sprintf(format, args...)}
}
