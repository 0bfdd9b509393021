-- INSERT OR REPLACE deletes without asking the trigger against deletes: it finds nothing to replace. FAIL as for events.
CREATE TRIGGER commands_are_only_added BEFORE INSERT ON commands
WHEN EXISTS (SELECT 1 FROM commands WHERE tenant = NEW.tenant AND key = NEW.key)
BEGIN
    SELECT RAISE(FAIL, 'keys of commands are kept for good');
END;
