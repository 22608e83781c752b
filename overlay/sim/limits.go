package sim

import "time"

// Implementation limits: of what a Scenario may ask for, so that a slip of the finger is refused and does not run for a week.
const (
	// MaxPeers is how many peers a Scenario may have at the start: some 40 GiB.
	MaxPeers   = 1_000_000
	maxUsers   = 10_000_000
	maxLookups = 1_000_000 // per second
	maxChurn   = 10_000    // peers per second
	maxRun     = 1000 * time.Hour
	maxLoss    = 0.9 // a link that sends again would hardly ever be done
)
