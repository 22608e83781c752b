package sipusage

import "time"

// Specification constants.
const (
	gruuPad     = "~"        // RFC 7904 §6: "'~' is used in place of '='"
	appendIndex = 0xffffffff // RFC 6940 §7.4.1.1: at the end of the array
)

// For how long a registration is published: our choice, RFC 7904 §3.1 leaves it open.
const (
	minLifetime = 600 * time.Second  // phones that refresh every minute must not be heard of in the overlay every minute
	maxLifetime = 3600 * time.Second // how long a gateway that crashed may be called in vain
	// A record is stored again when at least half of its lifetime is left: so long an overlay that can not be reached goes unnoticed. After a Store
	// that had another cause, which many records may share (a start, a new certificate, an outage), it happens at a random point of the time from
	// earliestFirst of the lifetime to its half; after one that was due, from earliestAgain to its half. So what was stored in one burst is a steady
	// stream from the first renewals on, in which each record is stored every 7/16 of its lifetime on average.
	earliestFirst = 1. / 8
	earliestAgain = 3. / 8
)

// Implementation limits.
const (
	maxRecords   = 200_000                // address-of-records of one gateway
	maxStores    = 32                     // Stores on their way at once: a start with thousands of users must not drown the overlay
	workerIdle   = 100 * time.Millisecond // until a goroutine that stored something ends, with its stack
	storeTimeout = 20 * time.Second       // above the overlay's own 15 s (RFC 6940 §6.2.1)

	retryMin       = time.Second
	retryMax       = 60 * time.Second
	retryNotJoined = time.Second
	retryForbidden = 10 * time.Minute // nothing changes until somebody issues a certificate
	// maxTooOld bounds the storage times tried after Data_Too_Old: the last is more than an hour, the longest lifetime that we
	// publish, after the first.
	maxTooOld = 8

	checkCertificate = 24 * time.Hour  // a certificate that stands in the overlay may have been lost with three peers at once
	retryCertificate = 5 * time.Minute // one that does not; for those of users it takes an offer besides
	// certificateInterval is the pause behind each: nobody waits for them, so a start with thousands of users spreads their cost, which in a ring is
	// a Fetch, a Store and two copies. Until it is the turn of a user's, others go by the registration; those who have none any more come first.
	certificateInterval = 250 * time.Millisecond
	maxOffered          = 4096 // certificates that wait to be looked up, of those who come first and of the others
	// maxUserCertificates is how many users' certificates stand at our Node-ID, besides our own: max-count is 32 unless the
	// overlay says otherwise, and one place is for our next certificate.
	maxUserCertificates = 30

	// membersFor is how long a gateway goes by what it knows of who else may use an account; one that was given a certificate waits as long.
	membersFor = 20 * time.Second

	maxTargets   = 16 // of one lookup (RFC 7904 §8.2.1: forks are to be limited)
	maxDepth     = 5  // of addresses-of-record that forward to one another
	maxFollowed  = 16 // addresses-of-record looked up for one
	maxURI       = 512
	maxAddresses = 16 // SIP URIs of one gateway
	maxGRUU      = 1024

	lookupTimeout = 20 * time.Second // above the overlay's own
	followTimeout = 3 * time.Second  // forwarding must not hold up the phones that are known already
	maxLookups    = 64               // Fetches on their way at once
	maxWaiting    = 4096             // lookups that wait for one of those
	maxCached     = 20_000           // results remembered

	// foundFor is how long a caller may be sent to a gateway that the callee has left, and how long a phone may go without ringing
	// that has just registered at another gateway, while others of the same user ring, here or elsewhere.
	foundFor   = 5 * time.Second
	missingFor = 2 * time.Second
	// rangeFor is how long a number range is known to be somebody's: it may have many numbers, and all who call them ask for its one record. So much
	// later the others notice that a gateway has stopped serving it in order.
	rangeFor   = 10 * time.Second
	addressFor = 60 * time.Second
	// certifiedFor is how long a user is known to exist: certificates come and go with subscriptions.
	certifiedFor = 60 * time.Second
	// provenFor is how long a gateway is known to hold a certificate: they last for months.
	provenFor   = 10 * time.Minute
	maxHolders  = 64               // of certificates for one user
	maxAsking   = 64               // questions under way about what one gateway holds: one that lies leaves room for others
	suspectFor  = 60 * time.Second // a node that is gone is silence, and costs 15 s each time it is tried
	maxSuspects = 1000
	maxSecure   = 10000     // gateways that are known to prefer SIPS; another is asked for SIP first
	secureFor   = time.Hour // since a record last said so
	maxPrefs    = 2048      // octets of contact_prefs that are read
)
