package sim

import "testing"

// Worlds that have failed once. Each says what it was that failed.
func TestWorldsThatHaveFailed(t *testing.T) {
	for name, text := range map[string]string{
		"the bootstrap nodes of both halves are dead": `
peers 4
seed 877866194626
join 178ms
loss 0.015209602098040358
resend 200ms
hold-down 2s
users 13
refresh 26.556s
lookups 3
warm 3s
run 1m
audit 2
delay 1ms 21ms
at 1s kill 2 back 2.368s
at 41s crash 2
at 1m21s pause 1 for 5.39s`,
		"an owner that was no owner for a while trusts copies of before": `
peers 4
seed 877866194305
loss 0.0013844041157726461
resend 200ms
hold-down 2s
users 11
lookups 3
warm 3s
run 2m1s
audit 2
delay lan
at 1s churn 0.1 for 30s orderly 1
at 1m21s kill 1`,
		"the Attach of a join is sent again to another": `
peers 7
seed 615277032374
join 602ms
loss 0.004551224824908801
resend 200ms
hold-down 2s
users 7
refresh 12.09s
lookups 3
warm 3s
run 1m21s
audit 2
delay 1ms 3ms
at 1s join 2 over 2.203s
at 41s churn 0.1 for 30s orderly 1`,
		"a link that looked for a partition passes for one of an Attach": `
peers 4
seed 575826439314
join 4.13s
loss 0.008495515592436645
resend 200ms
skew 2.82s
hold-down 2s
users 14
lookups 3
warm 3s
run 1m40.623s
audit 2
delay 1ms 81ms
at 1s kill 1 back 27.361s
at 41s partition 38.46197987115456% for 19.623s`,
	} {
		if _, err := mustParse(t, text).Play(Options{Strict: true}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Half of the peers die at once: no lookup fails of what has a copy, and what has none is stored again where its gateway lives.
func TestHalfOfThePeersDieAtOnce(t *testing.T) {
	s := mustParse(t, "peers 80\nseed 5\nusers 160\nlookups 100\nrun 40s\nat 0s kill 50%")
	m, err := s.Play(Options{})
	if err != nil {
		t.Fatal(err)
	}
	if m.Failed > 0 {
		t.Errorf("%d of %d lookups failed: %v", m.Failed, m.Lookups, m.FailedWhy)
	}
	if m.AllCopiesDied == m.HomeDiedToo || m.StoredAgainP99 > 20 {
		t.Errorf("%d registrations without a copy, %d without a gateway, the others were away for %v s", m.AllCopiesDied, m.HomeDiedToo,
			m.StoredAgainP99)
	}
	if m.Lost > m.HomeDiedToo {
		t.Errorf("%d lost, and the gateways of %d had died", m.Lost, m.HomeDiedToo)
	}
}
