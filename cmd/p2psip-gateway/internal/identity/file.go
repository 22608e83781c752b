package identity

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Secrets are the files of an identity directory that are for its owner alone, whether they are there or not.
func Secrets(dir string) []string {
	return []string{filepath.Join(dir, nodeKeyFile), filepath.Join(dir, turnSecretFile), filepath.Join(dir, enrollmentFile)}
}

// write puts data at path in one step: a reader sees the old file or the new one. Keys go to the disk before it returns;
// certificates can be issued again.
func write(path string, data []byte, mode os.FileMode) error {
	return put(path, data, mode, mode == keyMode)
}

// put is write; with durable the data is on the disk when it returns.
func put(path string, data []byte, mode os.FileMode, durable bool) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return unwritable(path, err)
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Chmod(mode)
	}
	if err == nil && durable {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err == nil && durable {
		err = syncDir(filepath.Dir(path)) // or the name may be gone with the power
	}
	if err != nil {
		_ = os.Remove(f.Name()) // the first error is the one to report
		return unwritable(path, err)
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func unwritable(path string, err error) error {
	return &Error{Code: CodeUnwritable, What: "cannot write", Path: path, Err: err}
}

func makeDir(path string) error {
	if err := os.MkdirAll(path, dirMode); err != nil {
		return &Error{Code: CodeUnwritable, What: "cannot make the directory", Path: path, Err: err}
	}
	return nil
}

// read reads a file that should be there; try says what to do when it is not.
func read(path, what, try string) ([]byte, error) {
	f, err := os.Open(path)
	if err == nil {
		defer func() { _ = f.Close() }()
		var b []byte
		if b, err = io.ReadAll(io.LimitReader(f, maxFile+1)); err == nil {
			if len(b) > maxFile {
				return nil, &Error{Code: CodeMalformed, What: "too large for " + what, Path: path,
					Err: fmt.Errorf("over %d octets", maxFile)}
			}
			return b, nil
		}
	}
	return nil, &Error{Code: CodeUnreadable, What: "cannot read " + what, Path: path, Err: err, Try: try}
}

func writeKey(path string, key crypto.Signer) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return unwritable(path, err)
	}
	return write(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), keyMode)
}

func readKey(path, what, try string) (crypto.Signer, error) {
	b, err := read(path, what, try)
	if err != nil {
		return nil, err
	}
	malformed := func(err error) error {
		return &Error{Code: CodeMalformed, What: "not " + what, Path: path, Err: err, Try: try}
	}
	block, _ := pem.Decode(b)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, malformed(errors.New(`no PEM block "PRIVATE KEY"`))
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, malformed(err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, malformed(fmt.Errorf("a key of type %T cannot sign", key))
	}
	return signer, nil
}

func writeCert(path string, der []byte) error {
	return write(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), certMode)
}

// readCerts reads one certificate and the intermediates behind it.
func readCerts(path, what, try string) ([]*x509.Certificate, error) {
	b, err := read(path, what, try)
	if err != nil {
		return nil, err
	}
	var certs []*x509.Certificate
	for {
		var block *pem.Block
		if block, b = pem.Decode(b); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(bytes.Clone(block.Bytes)) // which has room for more
		if err != nil {
			return nil, &Error{Code: CodeMalformed, What: "not " + what, Path: path, Err: err, Try: try}
		}
		certs = append(certs, cert)
	}
	if len(certs) == 0 {
		return nil, &Error{Code: CodeMalformed, What: "not " + what, Path: path,
			Err: errors.New(`no PEM block "CERTIFICATE"`), Try: try}
	}
	return certs, nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, os.ErrNotExist)
}
