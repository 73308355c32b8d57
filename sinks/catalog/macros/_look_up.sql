-- What do bands say of a concentration: as what is it taken, and which index and grade has it?
_look_up(scale, value) AS
list_transform(  -- lists of one, so that what each step needs is written once
    list_transform(
        list_transform([{'scale': scale, 'value': value::DOUBLE}], lambda x: {'scale': x.scale, 'taken': {taken}}),
        lambda x: {'scale': x.scale, 'taken': x.taken, 'index': {index}}
    ),
    lambda x: {'taken': x.taken, 'index': x.index, 'grade': {grade}, 'beyond': {beyond}}
)[1]
