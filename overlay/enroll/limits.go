package enroll

import "time"

// What the specifications fix.
const (
	// WellKnownPath is the path of the configuration document (RFC 6940 §11.2).
	WellKnownPath = "/.well-known/reload-config"
	// TypeDocument is the media type of a configuration document (RFC 6940 §11.1).
	TypeDocument = "application/p2p-overlay+xml"
	// TypeCertificate is the media type of an answer (RFC 6940 §11.3).
	TypeCertificate = "application/pkix-cert"
	// TypeRequest is the content type of the form parameter "csr" (RFC 6940 §11.3).
	TypeRequest = "application/pkcs10"

	fieldAccount  = "username"
	fieldPassword = "password"
	fieldNodeIDs  = "nodeids"
	fieldRequest  = "csr"

	srvService = "reload-config" // RFC 6940 §11.2
	srvProto   = "tcp"
)

// What one request may cost the server.
const (
	maxHeader  = 16 << 10 // octets; browsers and libraries send less than one KB
	maxForm    = 32 << 10 // octets of a whole form
	maxRequest = 8 << 10  // octets of a certificate signing request; with RSA-4096 it has 1.7 KB
	maxField   = 1 << 10  // octets of a name or password
	maxParts   = 8        // of a form: it has four

	headerWait   = 5 * time.Second
	requestWait  = 15 * time.Second // to read one request
	answerWait   = 30 * time.Second // to work on it and write the answer
	idleWait     = 60 * time.Second
	shutdownWait = 5 * time.Second

	maxConns          = 512 // 20 KB each
	maxConnsPerSource = 64  // of these: the users of a company behind one address ask one after the other
)

// What clients may ask of the server.
const (
	requestsPerSecond = 50  // of one source: a gateway that gets its users' certificates
	requestsBurst     = 200 //
	maxSources        = 16384

	// Guessing: ten tries at once, then one in ten seconds from a source and one in thirty for an account. A code has 50 bits.
	sourceFailuresPerSecond  = 0.1
	accountFailuresPerSecond = 1.0 / 30
	failuresBurst            = 10

	maxVerifying = 2  // passwords at a time, 19 MB each
	maxWaiting   = 64 // requests for that

	maxProofs     = 4096             // of accounts whose password was right lately
	proofLifetime = 10 * time.Minute // within which it is not computed again
	maxFriends    = 4096             // sources at which an account was used before

	busyRetry     = 2 * time.Second // Retry-After when too much is under way
	documentAge   = 5 * time.Minute // Cache-Control of the document
	tlsLifetime   = 90 * 24 * time.Hour
	maxServerHost = 16 // names in the certificate of the server
)

// What accounts may hold.
const (
	// DefaultMaxCertificates is how many certificates a user's account may hold that are valid at a time.
	DefaultMaxCertificates = 8
	// DefaultMaxGatewayCertificates is the same for a gateway: one for each of its users, twice after its key was lost.
	DefaultMaxGatewayCertificates = 50_000
	// CodeLifetime is how long a code can be used for the first time.
	CodeLifetime = 24 * time.Hour

	// MinPassword is the least octets of a password.
	MinPassword = 8

	maxAccounts   = 100_000 // 500 octets each
	maxIssued     = 1 << 20 // records of certificates, 300 octets each
	maxName       = 128     // octets of an account's name
	maxPatterns   = 1024    // of one account
	maxNodeIDs    = 16      // of one certificate: trust reads 64
	maxIssuedFile = 1 << 30 // octets that are read
	maxFile       = 64 << 20
	// A log of issued certificates is written anew when it has so many lines, and twice as many as there are records.
	compactLines = 4096

	codeSymbols = 10 // of 5 bits each
)

// Argon2id, after OWASP's advice for passwords: 19 MiB, two passes, one lane; 20 ms on a server of 2020.
const (
	argonMemory  = 19 << 10 // KiB
	argonPasses  = 2
	argonLanes   = 1
	argonSalt    = 16
	argonHash    = 32
	maxMemory    = 256 << 10 // KiB, of a record that we read
	maxArgonTime = 16
)

// What a client waits for.
const (
	// AttemptTimeout is how long one request may take, from name to answer.
	AttemptTimeout = 10 * time.Second

	maxDocument     = 1 << 20 // octets: what package config reads
	maxCertificate  = 8 << 10 // octets: what package trust reads
	maxText         = 256     // octets of a refusal that are read
	maxTargets      = 8       // SRV records
	dialWait        = 5 * time.Second
	backoffFirst    = time.Second
	backoffMost     = 5 * time.Minute
	maxRetryAfter   = 10 * time.Minute
	renewRetryLeast = 10 * time.Second
	renewLeast      = 5 * time.Second // between two renewals
	renewBudget     = time.Minute     // for one round of attempts; then the failure is told
	followBackoff   = 4               // doublings of backoffFirst after the first look that failed: half a minute
	followLeast     = 10 * time.Second
	maxContacts     = 64 // servers

	// CertifierBudget is how long a Certifier may take for one certificate: a phone waits for the answer to its REGISTER.
	CertifierBudget  = 5 * time.Second
	certifierRunning = 4    // requests at a time: the server signs one after the other
	certifierWaiting = 1024 // users that wait
	certifierDenied  = 8192 // users that are remembered as refused
	deniedFor        = time.Minute
	failedFor        = 5 * time.Second
)
