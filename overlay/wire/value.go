package wire

import "strconv"

// DataModel is the data model of a Kind (RFC 6940 §7.2).
type DataModel uint8

// The data models (RFC 6940 §7.2).
const (
	SingleValue DataModel = iota + 1
	Array
	Dictionary
)

// String is the name of RFC 6940 §14.7, "DICTIONARY".
func (m DataModel) String() string {
	switch m {
	case SingleValue:
		return "SINGLE"
	case Array:
		return "ARRAY"
	case Dictionary:
		return "DICTIONARY"
	}
	return "model" + strconv.Itoa(int(m))
}

// StoredValue is a StoredDataValue (RFC 6940 §7.2).
//
//	[index u32 | key v16] · exists u8 · value v32
type StoredValue struct {
	Model  DataModel
	Index  uint32 // Array
	Key    string // Dictionary, raw octets
	Exists bool
	Data   []byte
}

// StoredData is one stored value with its signature (RFC 6940 §7).
//
//	length u32 · storage_time u64 · lifetime u32 · value · signature
type StoredData struct {
	StorageTime uint64 // ms since 1970
	Lifetime    uint32 // seconds
	Value       StoredValue
	Signature   Signature
}

// SignedOctets appends what the signature of a stored value covers: the bare Resource-ID, the Kind-ID, the storage
// time, the StoredDataValue (array index zeroed) and the SignerIdentity (RFC 6940 §7.1, §7.4.2.2).
func (d *StoredData) SignedOctets(b []byte, res ResourceID, kind KindID, id SignerIdentity) []byte {
	// RFC 6940 §7.1: "resource_id || kind || storage_time || StoredDataValue || SignerIdentity". The RFC does not say
	// whether the Resource-ID has its length octet here; it has not, as in the other implementations.
	b = append(b, res...)
	b = append32(b, kind)
	b = append64(b, d.StorageTime)
	v := d.Value
	// RFC 6940 §7.4.2.2: "the index value in the array is set to zero before the signature is computed". A verifier
	// does not know whether the index was 0xffffffff, so this holds for every array value.
	v.Index = 0
	b = v.AppendTo(b)
	return id.AppendTo(b)
}

// AppendTo appends the encoded structure.
func (d *StoredData) AppendTo(b []byte) []byte {
	b, at := begin(b, 4)
	b = append64(b, d.StorageTime)
	b = append32(b, d.Lifetime)
	b = d.Value.AppendTo(b)
	b = d.Signature.AppendTo(b)
	return finish(b, at, 4, "StoredData.length")
}

// ParseStoredData reads a StoredData that stands alone, of a Kind with the data model m. It aliases b. The error is a *SyntaxError.
func ParseStoredData(b []byte, m DataModel) (StoredData, error) {
	c := newCursor(b)
	d := c.storedData(m)
	return d, c.done("StoredData")
}

func (c *cursor) storedData(m DataModel) (d StoredData) {
	outer := c.open(4, "StoredData.length")
	d.StorageTime = c.u64("StoredData.storage_time")
	d.Lifetime = c.u32("StoredData.lifetime")
	d.Value = c.storedValue(m)
	d.Signature = c.signature()
	c.shut(outer, "StoredData.length")
	return d
}

func (c *cursor) storedValue(m DataModel) StoredValue {
	v := StoredValue{Model: m}
	switch m {
	case Array:
		v.Index = c.u32("ArrayEntry.index")
	case Dictionary:
		v.Key = c.str(2, "DictionaryEntry.key")
	}
	v.Exists = c.boolean("DataValue.exists")
	v.Data = c.vec(4, "DataValue.value")
	return v
}

// AppendTo appends the encoded structure.
func (v *StoredValue) AppendTo(b []byte) []byte {
	b = appendPosition(b, v.Model, v.Index, v.Key)
	return appendVec(appendBool(b, v.Exists), 4, v.Data, "DataValue.value")
}

// appendPosition appends where a value stands in its data model.
func appendPosition(b []byte, m DataModel, index uint32, key string) []byte {
	switch m {
	case Array:
		b = append32(b, index)
	case Dictionary:
		b = appendVec(b, 2, key, "DictionaryEntry.key")
	}
	return b
}

// StoredMetaData is the metadata of one value (RFC 6940 §7.4.3.2).
//
//	value_length u32 · storage_time u64 · lifetime u32 · [index u32 | key v16] ·
//	exists u8 · value_length u32 · hash_algorithm u8 · hash_value v8
type StoredMetaData struct {
	StorageTime uint64 // ms since 1970
	Lifetime    uint32 // seconds
	Model       DataModel
	Index       uint32
	Key         string
	Exists      bool
	ValueLength uint32 // octets of the value
	Hash        uint8  // TLS HashAlgorithm
	HashValue   []byte
}

func (c *cursor) storedMetaData(m DataModel) StoredMetaData {
	d := StoredMetaData{Model: m}
	// The first field is called value_length in the structure, but RFC 6940 §7.4.3.2 equates it with StoredData.length:
	// octets of the rest of the structure. The length of the value is in MetaData.
	outer := c.open(4, "StoredMetaData.value_length")
	d.StorageTime = c.u64("StoredMetaData.storage_time")
	d.Lifetime = c.u32("StoredMetaData.lifetime")
	switch m {
	case Array:
		d.Index = c.u32("ArrayEntryMeta.index")
	case Dictionary:
		d.Key = c.str(2, "DictionaryEntryMeta.key")
	}
	d.Exists = c.boolean("MetaData.exists")
	d.ValueLength = c.u32("MetaData.value_length")
	d.Hash = c.u8("MetaData.hash_algorithm")
	d.HashValue = c.vec(1, "MetaData.hash_value")
	c.shut(outer, "StoredMetaData.value_length")
	return d
}

// AppendTo appends the encoded structure.
func (d *StoredMetaData) AppendTo(b []byte) []byte {
	b, at := begin(b, 4)
	b = append64(b, d.StorageTime)
	b = append32(b, d.Lifetime)
	b = appendPosition(b, d.Model, d.Index, d.Key)
	b = append32(appendBool(b, d.Exists), d.ValueLength)
	b = appendVec(append(b, d.Hash), 1, d.HashValue, "MetaData.hash_value")
	return finish(b, at, 4, "StoredMetaData.value_length")
}
