package node

import "time"

// Specification constants.
const (
	// DefaultHoldDown is the successor replacement hold-down time (RFC 6940 §3, §10.7.1).
	DefaultHoldDown = 30 * time.Second
	// attachAttempts is how often a neighbour that does not answer is attached to before a joining node goes on without
	// it.
	attachAttempts = 2
	ufragLen       = 4  // characters of an ICE user fragment, at least (RFC 5245 §15.4)
	passwordLen    = 22 // characters of an ICE password, at least (RFC 5245 §15.4)
	// tunedPatience is how long any peer of a self-tuning overlay may be silent: RFC 7363 §6.3.1 has it pinged when nothing came
	// from it for 2*Tr, of which Tr is 15 s by default, and the side that waits longer waits by a quarter longer.
	tunedPatience = 24 * time.Second
	// maxDiagnosticLifetime is how far ahead the expiration of a DiagnosticsRequest may be (RFC 7851 §5.1).
	maxDiagnosticLifetime = 600 * time.Second
)

// Implementation limits: times.
const (
	// DefaultPingInterval is how long a peer may be silent. With two pings of one reliability timer each, a peer that is
	// dead behind a link that seems alive is found within a quarter more than this, and 6 s. One that is dead for TCP is
	// found at once.
	DefaultPingInterval = 5 * time.Second
	// missedPings in a row make a peer dead: one may be lost with a packet or behind a full queue.
	missedPings = 2
	doubtAfter  = time.Second // of silence of a neighbour, before an answer that it contradicts makes us ask it for a sign of life
	// diagnosticLifetime is how long a DiagnosticsRequest and its answer made here are good: four lifetimes of a
	// request, and room for clocks that are not quite right.
	diagnosticLifetime = time.Minute
	// linkWait is how long an answered Attach waits for its link: a TCP and TLS handshake over a bad path.
	linkWait = 10 * time.Second
	// iceLinkWait is the same with ICE: 15 s of connectivity checks, then the DTLS handshake.
	iceLinkWait = 26 * time.Second
	// unnamedTime is how long a link whose certificate has several Node-IDs may go without saying which is meant.
	unnamedTime = 30 * time.Second
	// storageTimeAhead is from when on a storage time is worth a line in the log: clocks that NTP sets are right to a second.
	storageTimeAhead = time.Minute
	// dialStagger is how long one bootstrap address may keep the next one waiting.
	dialStagger = 500 * time.Millisecond
	// firstBackoff and maxBackoff bound the pause between attempts to join; it doubles. A node that a person has just
	// started is to be seen within a minute when its bootstrap node comes up.
	firstBackoff = 250 * time.Millisecond
	maxBackoff   = 30 * time.Second
	// stepWait is how long a joining node waits for the next message of the admitting peer.
	stepWait = 15 * time.Second
	// neighborsWait is how long a joining node tries to link with its neighbours: two attempts of one request lifetime.
	neighborsWait = attachAttempts * 15 * time.Second
	// announceWait is how long a new peer waits for links with neighbours that it only learned of when it was admitted.
	announceWait = 3 * time.Second
	// avoidTime is how long a node that could not be attached to is left alone, unless it is heard of first hand.
	avoidTime = 15 * time.Second
	// soughtPause is when a node that others name, and that could not be attached to, is asked after: an Attach takes 15 s to fail,
	// and the node is left alone for as long. maxSoughtPause bounds the pause, which doubles.
	soughtPause    = 2*avoidTime + 2*time.Second
	maxSoughtPause = 5 * time.Minute
	// replayLifetime is how long requests that cost a connection are remembered: the message signature covers no time
	// (RFC 6940 §6.3.4), so a captured one is good for ever.
	replayLifetime = 10 * time.Minute
	// copyRetry is when a copy that failed is tried again, and dropDelay for how long a peer keeps values for which it
	// is out of the replica set: the set may come back. maxCopyRetry bounds the pause between attempts, which doubles.
	copyRetry    = 5 * time.Second
	maxCopyRetry = 10 * time.Minute
	dropDelay    = time.Minute
	// leaveWait bounds the hand-over of a leaving node and leaveAnswerWait the answers to its Leave: a person waits for
	// it.
	leaveWait       = 8 * time.Second
	leaveAnswerWait = 2 * time.Second
	// crossingTime is how long an Attach that crossed another one may be on its way when the link of that one is up
	// already.
	crossingTime = 3 * time.Second
	// restartTolerance is by how much the start of a peer, computed from its uptime in whole seconds and the time that
	// the Update took, may seem to move.
	restartTolerance = 20 * time.Second
	// DefaultMessageRate is how many messages per second may come over one link: more than an honest peer on two cores can sign and
	// verify, so that in a small ring a busy gateway is never taken for a flooder, and yet little to drop. What is verified of it
	// maxVerifyingPerLink bounds. burst is for how many seconds of that rate more may
	// come at once, floodPatience how many seconds' worth may then be refused in a row before the link is closed, and
	// banTime how long its node is to stay away.
	DefaultMessageRate = 16000
	burst              = 2
	floodPatience      = 3
	banTime            = time.Minute
	// transitErrors is how many errors per second a link may cause by messages whose signature nobody has looked at: a ring that is
	// at odds with itself makes a few.
	transitErrors = 100
	// findWork is how many Resource-IDs may be looked at in a second to answer Finds: each Find looks at all.
	findWork = 500_000
	// pushInterval is how soon a node may be sent the same configuration document again: two nodes that can not agree must
	// not keep each other busy. holdWait is how long a request waits for the older side to be brought up to date.
	pushInterval = 30 * time.Second
	holdWait     = 5 * time.Second
	// DefaultProbeInterval is how often a peer looks for a partition. RFC 6940 §10.7.4.4 says "periodically"; a minute
	// costs one connection of a bootstrap node per peer, and bounds for how long phones of two halves can not call each
	// other.
	DefaultProbeInterval = time.Minute
	// For lostTime it is tried now and then whether a neighbour that was lost can be reached again, and for lostHaste every
	// lostInterval: partitions that end soon are to be over soon.
	lostTime     = time.Hour
	lostHaste    = 5 * time.Minute
	lostInterval = 8 * time.Second
	// passedTime is for how long a request that was passed on may be sent another way: past that its maker sends a copy.
	passedTime = 3 * time.Second
	// Peers that are no direct neighbours may be silent for longer. nextPatience is a factor for those after them, and all
	// others together are pinged, by both sides of a link, about once in farInterval.
	nextPatience = 4
	farInterval  = 4 * time.Second
	// alarmTime is within what time two dead peers make a peer ask all others for a sign of life, and how soon it may do so
	// again. Who was heard for less than freshTime is alive.
	alarmTime = 10 * time.Second
	freshTime = 2 * time.Second
	// spreadTime is how long peers that are no neighbours may wait to hear that the Neighbor Table has changed.
	spreadTime = 5 * time.Second
	// settledInterval is how long after a change of the Neighbor Table there is another exchange of Updates with all neighbours: an
	// Attach to one may have failed because others were on their way to the same, and nobody would name it again.
	settledInterval = 20 * time.Second
	// massPercent is which part of the near peers has to go, or to come back, within alarmTime to make it uncertain
	// whether what was stored is there; at fewer, three in a row are too improbable. uncertainWait is for the ring to settle
	// before that is said, and uncertainInterval how soon it may be said again.
	massPercent       = 4
	uncertainWait     = time.Second
	uncertainInterval = 15 * time.Second
	// bereftTime is for how long after a loss values may be waited for that lost all their copies in it, and bereftWait for how long
	// a Fetch does: its lifetime is 15 s, and it may have waited before.
	bereftTime = 20 * time.Second
	bereftWait = 8 * time.Second
	// newcomerTime is for how long a new peer may lack copies of what its predecessors are responsible for: one of them may not have been
	// attached to at first, and is asked after again (see soughtPause).
	newcomerTime = 2 * time.Minute
	// surveyTime is how long it takes to compare all copies with those of the other holders, if they are few; there is one comparison in
	// surveyPause at most, which costs some 150 octets a second on either side, and none while surveyBusy requests are under way.
	surveyTime  = 10 * time.Minute
	surveyPause = 5 * time.Second
	// suspectWait is how long a request may wait for what becomes of a peer that does not acknowledge anything, and loopWait
	// how long one that has come back.
	suspectWait = 5 * time.Second
	loopWait    = 100 * time.Millisecond
	// acknowledgeWait is how long a Store may wait for the replicas: a dead one must not hold it up until it is found dead.
	acknowledgeWait = time.Second
	// ownerSilence is within what time an owner has to be heard for its values to be read from our copy of them: so late a peer that was cut
	// off finds out that there may be others. While it is asked, it is heard.
	ownerSilence = 3 * time.Second
	// wantedFor is for how long an owner is kept heard after the last lookup of what it holds: in a ring in which calls are made, and not in an idle one.
	wantedFor = time.Minute
	// searchPause is how often what is held is looked through because an owner says that its range has changed: for 400,000 resources that takes 20 ms.
	searchPause = time.Second
	// upkeepInterval is how often a peer looks for links that are missing or too many, while there are any; seekPause is for
	// how long a part of the ring in which nobody new was found is left alone.
	upkeepInterval = 2 * time.Second
	seekPause      = 10 * time.Minute
	// refusedPause is the same for a part in which the peer that was asked has enough links.
	refusedPause = 3 * time.Minute
	// maxRefusedPause bounds it: it doubles each time.
	maxRefusedPause = time.Hour
	// clockInterval is how often our clock is compared with those of more than clockFew peers: the median of many takes time.
	clockInterval = 10 * time.Second
	clockFew      = 16
	// maxClockSkew is from when on our clock is taken to be wrong: one that NTP sets is right to a second.
	maxClockSkew = time.Minute
	// linkIdle is when a second link with the same node, over which nothing comes, is closed.
	linkIdle = 5 * time.Minute
	// strangerIdle is for how long a node that is no peer has to be silent before its link may be given up for another.
	strangerIdle = 10 * time.Second
	// askUpdateInterval is how often a linked peer that should be a neighbour is asked for its Update.
	askUpdateInterval = 5 * time.Second
)

// clientInterval is how often a client asks its peer for the neighbours.
const clientInterval = time.Minute

// Implementation limits: numbers.
const (
	maxRequests         = 4096 // requests that wait for an answer
	maxAnswers          = 8192 // answers kept for copies of a request: some 2 KB each
	maxReplays          = 8192 // of 50 octets each
	maxJobs             = 4096 // messages being sealed or verified
	maxEstimates        = 64   // of one period, of one peer each: some nine are to be expected (RFC 7363 §6.5)
	maxVerifyingPerLink = 512  // so that one link cannot take all of maxJobs
	maxLinks            = 1024 // where Config.Links says nothing
	clientHomes         = 2    // peers that a client is linked with: the responsible one and its successor
	maxUnnamed          = 64   // links of certificates with several Node-IDs of which it is not known which is meant
	maxLinksPerNode     = 4    // a link made from either side, and their successors
	maxDials            = 64
	maxGathering        = 128 // sessions of ICE whose candidates are being gathered
	maxAttaches         = 48  // of ours: 16 fingers and neighbours of a storm of joins
	maxRerouted         = 16  // times that a request goes another way at once
	maxUnacknowledged   = 1024
	maxSeeking          = 16  // of these, for links that only make paths shorter
	maxPassed           = 128 // requests that were passed on, kept to be sent another way
	maxSpared           = 8   // links given up at a time
	closePlaces         = 8   // peers on either side that hear at once that the Neighbor Table has changed
	maxAvoid            = 256
	maxBanned           = 256
	maxSought           = 256      // nodes to be linked with that could not be yet: more than there are in a mesh
	maxSoughtTries      = 8        // some 25 minutes
	maxCandidates       = 8        // configuration documents that wait to be examined, of at most max-message-size each
	maxKindBlocks       = 16       // of one ConfigUpdate
	maxPushed           = 1024     // nodes that were sent the configuration lately
	maxHeld             = 1024     // requests that wait for two configurations to be the same
	maxHeldRange        = 512      // requests that wait for the end of an admission
	maxDiagnostics      = 64       // extensions of one DiagnosticsRequest that are looked at
	maxViaOctets        = 110 * 22 // a Via List of one Node-ID per hop, of which the TTL allows 100
	compressedVia       = 8 * 18   // octets from which on an opaque ID stands for a Via List: with fewer, the answer may find another way
	maxAdmitNext        = 16       // joining nodes that wait for their turn
	maxLearned          = 256      // Node-IDs of one Update that are looked at
	maxKnown            = 10       // RFC 6940 §11.4: "The suggested number of peers to cache is 10."
	maxHeldBack         = 128      // requests that would go around in circles
	surveyBusy          = 64
	maxComparisons      = 4096 // in one survey: some six hours
	maxRefusals         = 5    // that are counted
	maxLostOnes         = 128  // near peers that were lost lately
	maxNewcomers        = 16   // neighbours that have become peers lately; six can be near at a time
	maxBereaved         = 512  // Fetches that wait for what was lost to be stored again
	maxLost             = 16   // peers that were lost, whose addresses are tried
	maxOwners           = 16   // peers that have us as a replica: two, and some more while the ring changes
	maxFound            = 32   // addresses that were found while the node runs
	maxBootstrap        = 64   // addresses
	maxJoinRefusals     = 8    // of one attempt to join, before it pauses
	copyWindow          = 32   // copies of values on their way
)
