package trunk

import "time"

// Limits of ours.
const (
	MaxTrunks  = 256  // of one gateway: each is probed
	MaxRoutes  = 4096 // each call looks at them all
	MaxTargets = 16   // of one trunk: trying them all takes a minute already
	maxWeight  = 1000
	MaxRules   = 256 // of one translation

	firstProbe   = 3 * time.Second  // within which a target is probed first: not all of them at once
	probeWait    = 5 * time.Second  // how long the answer to a probe may take
	maxCalls     = 50000            // entries of calls under way
	maxUsers     = 100000           // whose calls are counted in one day
	maxBounces   = 4                // calls between trunks from one caller to one number that ring at a time
	longestCall  = 12 * time.Hour   // a call is over by then, whatever was heard of it
	longestSetup = 10 * time.Minute // so is one that nobody answered
	longestHung  = time.Hour        // and one of which a BYE was seen that the trunk never took: whoever forges it wins a line in an hour
	sweepEvery   = time.Second      // the entries of all calls are gone through at most that often
	secondsOfDay = 24 * 60 * 60
	// DefaultTimeout is how long a target may stay silent before the next has its turn.
	DefaultTimeout = 4 * time.Second

	accountRetry     = 30 * time.Second // after a failure that may be over soon; doubled each time
	accountRetryMost = 10 * time.Minute
	accountRefused   = 10 * time.Minute // after a refusal: somebody has to change something, and providers ban who insists
	accountWait      = 5 * time.Second  // for the answer of one address of a registrar
	removalWait      = 2 * time.Second  // likewise when our contact is taken out: another gateway waits for it
	maxRemovals      = 2
	closeWait        = 10 * time.Second // to un-register an account that is not in the configuration any more
	maxRounds        = 3                // challenges in a row
	maxHops          = 4                // addresses of a registrar that are tried in a row
	maxLeft          = 8                // contacts of others that are taken out at once
	maxAccountTime   = 24 * time.Hour   // that a registrar may want us to ask for, or grant
	minGranted       = 10 * time.Second
)
