package main

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestHistoryJudges(t *testing.T) {
	at := func(s float64) time.Time { return time.Unix(1000, 0).Add(time.Duration(s * float64(time.Second))) }
	type step struct {
		remove     bool
		begin, end float64
		acked      bool
	}
	add := step{false, 0, 1, true}
	removed := step{true, 10, 11, true}
	kill := fault{Begin: at(20), End: at(22)}
	cut := fault{Begin: at(9), End: at(40), partition: true}
	for name, c := range map[string]struct {
		steps      []step
		faults     []fault
		begin, end float64
		peers      []int
		err        error
		sweep      bool
		want       string
	}{
		"found":                                {steps: []step{add}, begin: 2, end: 3, peers: []int{1}},
		"not found":                            {steps: []step{add}, begin: 2, end: 3, want: "missing"},
		"not found by a sweep":                 {steps: []step{add}, begin: 2, end: 3, sweep: true, want: "lost"},
		"asked before the acknowledgement":     {steps: []step{add}, begin: 0.5, end: 3},
		"shown before the acknowledgement":     {steps: []step{{false, 0, 4, true}}, begin: 1, end: 2, peers: []int{1}},
		"never there":                          {begin: 1, end: 2, peers: []int{1}, want: "wrong"},
		"REGISTER refused, not shown":          {steps: []step{{false, 0, 1, false}}, begin: 2, end: 3},
		"REGISTER without an answer, shown":    {steps: []step{{false, 0, 1, false}}, begin: 2, end: 3, peers: []int{1}},
		"removed":                              {steps: []step{add, removed}, begin: 12, end: 13},
		"removed, shown":                       {steps: []step{add, removed}, begin: 12, end: 13, peers: []int{1}, want: "wrong"},
		"being removed":                        {steps: []step{add, removed}, begin: 10.5, end: 10.7},
		"being removed, shown":                 {steps: []step{add, removed}, begin: 10.5, end: 10.7, peers: []int{1}},
		"removal without an answer, shown":     {steps: []step{add, {true, 10, 11, false}}, begin: 12, end: 13, peers: []int{1}},
		"removal without an answer, not shown": {steps: []step{add, {true, 10, 11, false}}, begin: 12, end: 13},
		"removed and back, not shown":          {steps: []step{add, removed, {false, 12, 13, true}}, begin: 14, end: 15, want: "missing"},
		"failed":                               {steps: []step{add}, begin: 2, end: 3, err: errors.New("504"), want: "failed"},
		"failed in a fault":                    {steps: []step{add}, faults: []fault{kill}, begin: 21, end: 22, err: errors.New("504")},
		"not found within the grace time":      {steps: []step{add}, faults: []fault{kill}, begin: 25, end: 26},
		"not found after the grace time":       {steps: []step{add}, faults: []fault{kill}, begin: 28, end: 29, want: "missing"},
		"wrong in a fault":                     {steps: []step{add, removed}, faults: []fault{kill}, begin: 21, end: 22, peers: []int{1}, want: "wrong"},
		"stale behind a partition":             {steps: []step{add, removed}, faults: []fault{cut}, begin: 12, end: 13, peers: []int{1}},
		"stale after the partition":            {steps: []step{add, removed}, faults: []fault{cut}, begin: 46, end: 47, peers: []int{1}, want: "wrong"},
		"removed after the partition, shown":   {steps: []step{add, {true, 46, 47, true}}, faults: []fault{cut}, begin: 48, end: 49, peers: []int{1}, want: "wrong"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHistory(5 * time.Second)
			for _, s := range c.steps {
				h.begin(key{"u", 1}, s.remove, at(s.begin)).finish(s.acked, at(s.end))
			}
			for i := range c.faults {
				h.faults = append(h.faults, &c.faults[i])
			}
			a := answer{user: "u", begin: at(c.begin), end: at(c.end), peers: c.peers, err: c.err, sweep: c.sweep}
			got := h.judge(a).violation(a)
			if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
				t.Errorf("violation %q, want %q", got, c.want)
			}
		})
	}
}
