package proxy

import "time"

// Numbers of the specifications.
const (
	timerC             = 3*time.Minute + time.Second // RFC 3261 §16.6 step 11: "MUST be larger than 3 minutes"
	cancelWait         = 32 * time.Second            // RFC 3261 §9.1: 64*T1 after CANCEL the transaction is over
	defaultMaxForwards = 70                          // RFC 3261 §16.6 step 3
	largestMaxForwards = 255                         // RFC 3261 §20.22
	defaultBreadth     = 60                          // RFC 5393 §5.3.3, default and maximum
)

// Limits of ours.
const (
	groupWait    = 30 * time.Second       // how long phones of one q ring before those of the next
	silentWait   = 2 * time.Second        // for a branch that is cancelled and was never heard from
	maxTargets   = 20                     // of one request: nobody has more phones, and each costs a transaction
	maxDepth     = 5                      // of an AOR that forwards to an AOR (RFC 7904 §4.2 leaves it to us)
	maxInbox     = 256                    // events that wait in one call; more are a flood of provisional responses
	maxVias      = 2 * defaultMaxForwards // lines of Via; Max-Forwards allows fewer, so more are a loop or a nuisance
	lookupWait   = 8 * time.Second        // for the overlay or the DNS; a caller does not wait longer
	lookups      = 512                    // that run at one time: one that hangs takes lookupWait, and must not hold up the others
	maxResolving = 256                    // of these, for names: whoever knows some that nobody resolves leaves room for lookups of users
	lookupQueue  = 1024                   // that wait for their turn; more than some seconds' worth is too late anyway
	maxProofs    = 2                      // challenges of one target that are answered: the second for a nonce that was too old
	exactWait    = time.Second            // for the overlay, when a trunk leads on without it
	maxCalls     = 20000                  // response contexts, about 10 kB each
	spareCalls   = 2000                   // more, for requests within dialogs: people can still hang up
	retryAfter   = "5"                    // seconds, with 503
	tokenMAC     = 10                     // octets of the HMAC in a route token, as RFC 5626 §5.2 has it
	checkWait    = 500 * time.Millisecond // for the overlay to say whose certificates a gateway holds; then the caller is not proven
	maxChecks    = 256                    // such questions under way: a gateway that asks for trouble leaves room for lookups
	maxAsserted  = 2                      // values of P-Asserted-Identity, one of them a telephone number (RFC 3325 §9.1)
	drawnPorts   = 32768                  // from here on systems draw the ports of outgoing connections: nobody listens there
	outageWait   = 30 * time.Second       // for which a next hop that failed is tried last; doubled each time that it fails again
	outageMost   = 10 * time.Minute       // up to this, also where a 503 says how long
	outageProbe  = 33 * time.Second       // how long the one request may take that finds out whether it is back: Timer B and a little
	maxOutages   = 1024                   // next hops remembered as down
	maxTokenNode = 255                    // octets of a destination list in a route token: its length is one octet
)
