package sim

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

var (
	errValue    = errors.New("needs a value")
	errNegative = errors.New("must not be negative")
)

// ParseScenario reads the text of a Scenario: a statement a line, in any order; what follows a # is not read. The error names the
// line.
func ParseScenario(text string) (Scenario, error) {
	var s Scenario
	for i, line := range strings.Split(text, "\n") {
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		if err := s.statement(words); err != nil {
			return s, fmt.Errorf("line %d: %s: %w", i+1, words[0], err)
		}
	}
	return s, s.Check()
}

// Check says what is wrong with a scenario that can not be played.
func (s *Scenario) Check() error {
	switch {
	case s.Peers < 0 || s.Peers > MaxPeers:
		return fmt.Errorf("peers: %d is not between 1 and %d", s.Peers, MaxPeers)
	case s.Users < 0 || s.Users > maxUsers:
		return fmt.Errorf("users: %d is not between 0 and %d", s.Users, maxUsers)
	case s.Lookups < 0 || s.Lookups > maxLookups:
		return fmt.Errorf("lookups: %g is not between 0 and %d per second", s.Lookups, maxLookups)
	case s.Run > maxRun || s.Join > maxRun || s.Warm > maxRun || s.Heal > maxRun:
		return fmt.Errorf("times: none may be longer than %v", maxRun)
	case s.Network.Loss > maxLoss:
		return fmt.Errorf("loss: %g is above %g", s.Network.Loss, maxLoss)
	case s.MinDelay > s.MaxDelay:
		return fmt.Errorf("delay: the least, %v, is above the most, %v", s.MinDelay, s.MaxDelay)
	}
	for i := range s.Faults {
		if err := s.Faults[i].check(); err != nil {
			return fmt.Errorf("%s: %w", s.Faults[i], err)
		}
	}
	return nil
}

func (f *Fault) check() error {
	switch {
	case !slices.Contains(faultWhats, f.What):
		return fmt.Errorf("there is no %q; there are %s", f.What, strings.Join(faultWhats, ", "))
	case f.Share && (f.Amount < 0 || f.Amount > 1):
		return errors.New("a share is from 0% to 100%")
	case f.What == FaultChurn && f.Amount > maxChurn:
		return fmt.Errorf("more than %d peers per second", maxChurn)
	case f.Amount > MaxPeers || f.At > maxRun || f.ends() > 2*maxRun:
		return errors.New("too much, or too long")
	case f.Every > 0 && (f.Every < time.Millisecond*100 || f.Until < f.At):
		return errors.New("every: at least 100ms, and until a later time")
	case (f.What == FaultChurn || f.What == FaultPartition || f.What == FaultPause || f.What == FaultSessions) && f.For == 0:
		return errors.New("for how long? say: for 1m")
	case (f.What == FaultSlow || f.What == FaultSessions) && f.By == 0:
		return errors.New("by how much? say: by 200ms")
	}
	return nil
}

func (s *Scenario) statement(words []string) (err error) {
	rest := words[1:]
	switch words[0] {
	case "peers":
		return one(rest, &s.Peers)
	case "seed":
		if len(rest) != 1 {
			return errValue
		}
		s.Seed, err = strconv.ParseUint(rest[0], 10, 64)
		return err
	case "delay":
		return s.ParseDelay(strings.Join(rest, " "))
	case "at":
		f, err := parseFault(rest)
		s.Faults = append(s.Faults, f)
		return err
	}
	fields := s.fields()
	i := slices.IndexFunc(fields, func(f field) bool { return f.name == words[0] })
	if i < 0 {
		return errors.New("there is no such statement")
	}
	if flag, ok := fields[i].value.(*bool); ok {
		*flag = true
		return nil
	}
	return one(rest, fields[i].value)
}

// ParseDelay reads "lan", "wan", one duration or two.
func (s *Scenario) ParseDelay(text string) error {
	words := strings.Fields(text)
	s.Delay, s.MinDelay, s.MaxDelay = "", 0, 0
	switch {
	case len(words) == 1 && (words[0] == "lan" || words[0] == "wan"):
		s.Delay = words[0]
		return nil
	case len(words) == 1:
		words = append(words, words[0])
	case len(words) != 2:
		return errors.New("lan, wan, one duration or two")
	}
	if err := one(words[:1], &s.MinDelay); err != nil {
		return err
	}
	return one(words[1:], &s.MaxDelay)
}

// one reads the one word that there is to be.
func one(words []string, to any) (err error) {
	if len(words) != 1 {
		return errValue
	}
	negative := false
	switch v := to.(type) {
	case *time.Duration:
		*v, err = time.ParseDuration(words[0])
		negative = *v < 0
	case *float64:
		*v, err = strconv.ParseFloat(words[0], 64)
		negative = *v < 0 || math.IsNaN(*v)
	case *int:
		*v, err = strconv.Atoi(words[0])
	}
	if err == nil && negative {
		err = errNegative
	}
	return err
}

// parseFault reads what follows "at".
func parseFault(words []string) (f Fault, err error) {
	if len(words) < 2 {
		return f, errValue
	}
	if err := one(words[:1], &f.At); err != nil {
		return f, err
	}
	words = words[1:]
	if words[0] == "every" {
		if len(words) < 5 || words[2] != "until" {
			return f, errors.New("every needs until: every 30s until 1h")
		}
		if err := errors.Join(one(words[1:2], &f.Every), one(words[3:4], &f.Until)); err != nil {
			return f, err
		}
		words = words[4:]
	}
	f.What, words = words[0], words[1:]
	if f.What != FaultSessions {
		if len(words) == 0 {
			return f, errValue
		}
		if err := f.ParseAmount(words[0]); err != nil {
			return f, err
		}
		words = words[1:]
	}
	return f, f.parameters(words)
}

func (f *Fault) parameters(words []string) error {
	fields := f.fields()
	for len(words) > 0 {
		i := slices.IndexFunc(fields, func(p field) bool { return p.name == words[0] })
		if i < 0 {
			return fmt.Errorf("there is no %q", words[0])
		}
		if flag, ok := fields[i].value.(*bool); ok {
			*flag, words = true, words[1:]
			continue
		}
		if err := one(words[1:min(2, len(words))], fields[i].value); err != nil {
			return fmt.Errorf("%s: %w", words[0], err)
		}
		words = words[2:]
	}
	return nil
}

// ParseAmount reads how many peers: "5", or "50%".
func (f *Fault) ParseAmount(text string) error {
	number, share := strings.CutSuffix(text, "%")
	if err := one([]string{number}, &f.Amount); err != nil {
		return err
	}
	if f.Share = share; share {
		f.Amount /= 100
	}
	return nil
}
